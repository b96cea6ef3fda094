package batching

import (
	"time"

	"github.com/thrumserve/thrum/backends"
)

// Options bound one Batcher. For a signature that is not batched every call counts as one row
// and is a batch of its own, so MaxRows has no effect there.
type Options struct {
	MaxRows      int // rows that are executed together at most; a call with more is refused
	MaxQueueRows int // rows that may wait; a call beyond that is refused at once
	Inflight     int // batches that may be executing at the same time

	// Instances is how many of them execute in truth, while the others wait where an instance
	// finds them as soon as it is free; Inflight if 0 or more than that.
	Instances int

	// OnBatch, if not nil, is told of every execution before its answers are handed out.
	// It is called from many goroutines and must be quick.
	OnBatch func(BatchInfo)
}

// BatchInfo is one execution of the wrapped predictor.
type BatchInfo struct {
	Rows    int // 1 for a signature that is not batched
	Calls   int
	Compute time.Duration
	Err     error
}

// Validate reports settings that cannot work, as an ErrInvalid that says what to change.
func (o Options) Validate() error {
	if o.MaxRows < 1 {
		return backends.Errorf(backends.ErrInvalid, "batching.max_rows is %d: at least 1 is needed", o.MaxRows)
	}
	if o.MaxQueueRows < o.MaxRows {
		return backends.Errorf(backends.ErrInvalid,
			"batching.max_queue_rows is %d, less than batching.max_rows (%d): the largest call that is allowed could never wait", o.MaxQueueRows, o.MaxRows)
	}
	if o.Inflight < 1 {
		return backends.Errorf(backends.ErrInvalid, "batching.inflight is %d: at least 1 is needed", o.Inflight)
	}
	if o.Instances < 0 {
		return backends.Errorf(backends.ErrInvalid, "%d instances: at least 1 is needed", o.Instances)
	}
	return nil
}
