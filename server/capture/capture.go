// Package capture keeps a sample of a model's requests in files, with the time at which each
// arrived, so that load tests can replay what a server really gets. Nothing waits for it: what
// cannot be written in time is dropped and counted.
package capture

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// Options say what to keep of a version's requests, and where.
type Options struct {
	Folder         string // of the model's files; made if it is missing
	Model, Version string
	Rate           float64  // the share of the requests, above 0 and up to 1
	MaxBytes       int64    // of the folder; the oldest files make room
	Mask           []string // inputs whose data are replaced by zeros or empty texts; "parameters.NAME" leaves a request parameter out
	Log            *slog.Logger
}

// Stats count a version's requests since it was loaded.
type Stats struct {
	Written uint64
	Dropped uint64 // too many were waiting to be written, or one alone was too large
	Failed  uint64 // could not be written, or came after one that could not
	Skipped uint64 // not in the sample
}

// What may wait to be written: it is memory that no limit of the front counts any more.
const (
	maxQueued      = 256
	maxQueuedBytes = 32 << 20
)

// Recorder writes the sample of a version's requests. After a write that fails, because the disk is
// full for example, it stops, and says so once.
type Recorder struct {
	options Options
	began   time.Time
	files   files

	queue  chan []byte
	queued atomic.Int64 // bytes of records in queue
	quit   chan struct{}
	ended  chan error

	stopped                           atomic.Bool
	written, dropped, failed, skipped atomic.Uint64
}

// New opens the first file. A mask that is no input of sig, or a folder that cannot be written, is
// an ErrInvalid.
func New(sig backends.Signature, o Options) (*Recorder, error) {
	r, err := open(sig, o)
	if err != nil {
		return nil, err
	}
	go r.run()
	return r, nil
}

func open(sig backends.Signature, o Options) (*Recorder, error) {
	for _, name := range o.Mask {
		if _, ok := sig.Input(name); !ok && !strings.HasPrefix(name, parameterMask) {
			return nil, backends.Errorf(backends.ErrInvalid, "capture.mask: the model has no input %q; a request parameter is masked as parameters.NAME", name)
		}
	}
	r := &Recorder{
		options: o,
		began:   time.Now(),
		queue:   make(chan []byte, maxQueued),
		quit:    make(chan struct{}),
		ended:   make(chan error, 1),
	}
	r.files = files{folder: o.Folder, name: fileName(o.Version, r.began), head: r.head(), maxBytes: o.MaxBytes}
	if err := r.files.next(); err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "capture: %w", errors.Join(err, r.files.close()))
	}
	return r, nil
}

// Wrap returns a predictor that hands every request to next and keeps the sample.
func (r *Recorder) Wrap(next backends.Predictor) backends.Predictor { return stage{r, next} }

type stage struct {
	recorder *Recorder
	next     backends.Predictor
}

// Predict implements backends.Predictor.
func (s stage) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	if rand.Float64() < s.recorder.options.Rate {
		s.recorder.keep(in, time.Now())
	} else {
		s.recorder.skipped.Add(1)
	}
	return s.next.Predict(ctx, in)
}

// keep queues a copy of a request without what is masked, if there is room for it.
func (r *Recorder) keep(in backends.Batch, arrived time.Time) {
	if r.stopped.Load() {
		r.failed.Add(1)
		return
	}
	size := int64(r.sizeOf(in))
	waiting := r.queued.Add(size) - size
	if waiting > 0 && waiting+size > maxQueuedBytes || size > r.files.largest() {
		r.queued.Add(-size)
		r.dropped.Add(1)
		return
	}
	record := r.appendRecord(make([]byte, 0, size), in, arrived)
	r.queued.Add(int64(cap(record)) - size)
	select {
	case r.queue <- record:
	default:
		r.queued.Add(-int64(cap(record)))
		r.dropped.Add(1)
	}
}

// run writes what is queued until Close, and what is left then.
func (r *Recorder) run() {
	for {
		select {
		case record := <-r.queue:
			r.write(record)
		case <-r.quit:
			for {
				select {
				case record := <-r.queue:
					r.write(record)
					continue
				default:
				}
				r.ended <- r.files.close()
				return
			}
		}
	}
}

func (r *Recorder) write(record []byte) {
	defer r.queued.Add(-int64(cap(record)))
	if r.stopped.Load() {
		r.failed.Add(1)
		return
	}
	err := r.files.append(seal(record))
	switch {
	case err == nil:
		r.written.Add(1)
	case errors.Is(err, errLarge):
		r.dropped.Add(1)
	default:
		r.failed.Add(1)
		r.stopped.Store(true)
		r.options.Log.Error("capture has stopped: load the model again once its folder can be written",
			"model", r.options.Model, "version", r.options.Version, "error", err)
	}
}

// Stats returns the counts.
func (r *Recorder) Stats() Stats {
	return Stats{Written: r.written.Load(), Dropped: r.dropped.Load(), Failed: r.failed.Load(), Skipped: r.skipped.Load()}
}

// Close writes what is queued and closes the file. It is called once, after the last Predict.
func (r *Recorder) Close() error {
	close(r.quit)
	return <-r.ended
}

func (r *Recorder) masked(name string) bool { return slices.Contains(r.options.Mask, name) }
