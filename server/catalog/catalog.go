// Package catalog is what a protocol front needs to know of the models being served, and
// nothing about where they come from.
package catalog

import (
	"context"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// Version is a version of a model that is ready to answer.
type Version struct {
	Model     string
	Version   string   // decimal, such as "3"
	Versions  []string // all versions of the model that are ready, ascending
	Signature backends.Signature
	Predictor backends.Predictor // the whole chain: cache, batcher, plugin
	Deadline  time.Duration      // for a request that brings no timeout of its own

	Serving    Serving
	Statistics func() Statistics

	// Live returns nil if something could answer all the time since then, and else an
	// ErrUnavailable that says why nothing could. Predictor may be asked nonetheless: it waits
	// for what comes back in time.
	Live func(since time.Time) error
}

// Serving is how a version is served.
type Serving struct {
	Backend   string // as in model.yaml
	MaxRows   int    // of a batch; 0 if requests are not put together
	Instances int
	Cached    bool      // by a prediction cache
	Accuracy  *Accuracy // nil for a version without a golden set, and so not measured
}

// Accuracy is how far a version's answers to its golden set were from those of the reference
// runtime, which computes in FP32, when it was loaded.
type Accuracy struct {
	Reference string // the runtime, in the set's words, such as "onnxruntime 1.31.1"
	Cases     int
	Outputs   []OutputAccuracy // those that the set has answers for, in the signature's order
}

// OutputAccuracy is the accuracy of one output.
type OutputAccuracy struct {
	Name    string
	Figures []Figure
}

// Figure is a finite number of a kind that package golden defines.
type Figure struct {
	Kind  string
	Value float64
}

// Statistics is what has been counted of a version since the server started, earlier loads of it
// included. The counts are read one after the other, while requests go on.
type Statistics struct {
	Rows, Batches    uint64 // executed, the repeated ones included; an answer from a cache is in neither
	Success, Failure Time   // of requests, from their last byte until the reply is made

	Parse, Queue, Compute, Reply Time // of requests that came so far

	Hit, Miss Time // what the cache took: finding an answer, or waiting for the one that another request computes; looking in vain and storing

	Sizes []Size // of batches, ascending
}

// Time is how often something happened and how long it took altogether.
type Time struct {
	Count uint64
	Took  time.Duration
}

// Size is the batches of so many rows.
type Size struct {
	Rows    int
	Compute Time
}

// State is where a version is in its life, in the words of the repository protocol.
type State string

// The states.
const (
	Ready       State = "READY"
	Loading     State = "LOADING"
	Unloading   State = "UNLOADING"
	Unavailable State = "UNAVAILABLE"
)

// Entry is a line of the repository index. A model that was never loaded has neither version
// nor state.
type Entry struct {
	Name    string
	Version string
	State   State
	Reason  string // why it is not ready, or why a newer load failed while this one serves
}

// Catalog is the set of models being served. Its methods may be called concurrently.
type Catalog interface {
	// Ready reports whether the server should receive traffic.
	Ready() bool

	// Acquire returns a version that stays loaded until release is called, exactly once. An
	// empty version means the one that the model's policy prefers, normally the latest. An
	// unknown model or version is an ErrNotFound, one that is loading, unloading or has
	// failed an ErrUnavailable.
	Acquire(model, version string) (v *Version, release func(), err error)

	// Index lists every model in the repository, by name and then version.
	Index() []Entry

	// Load (re)loads a model from the repository and waits for it; Unload drains and stops
	// it. Both are ErrUnsupported unless the repository is under explicit control.
	Load(ctx context.Context, model string) error
	Unload(ctx context.Context, model string) error
}
