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

	// Live returns nil if something could answer all the time since then, and else an
	// ErrUnavailable that says why nothing could. Predictor may be asked nonetheless: it waits
	// for what comes back in time.
	Live func(since time.Time) error
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
