// Package backends is thrum's vocabulary: what a tensor, a batch and a signature are, and the
// one verb that cache, batcher, plugin client and loaded model all answer. It imports nothing
// of ours and only the standard library.
package backends

import (
	"context"
	"os"
)

// Predictor answers one batch with another. Implementations may be called from many
// goroutines at once. in is immutable and may be kept; so is the answer.
//
// For a batched signature every tensor of the answer has in.Rows() rows, row i of the answer
// belonging to row i of in. The answer holds the outputs that in.Outputs asks for, in its
// order, or all in the order of the signature. An error wraps one of this package's sentinels
// or the context's error; Predict returns soon after ctx ends. Who gets the answer calls its
// Release once when done with it.
type Predictor interface {
	Predict(ctx context.Context, in Batch) (Batch, error)
}

// PredictorFunc is a function that is a Predictor.
type PredictorFunc func(ctx context.Context, in Batch) (Batch, error)

// Predict calls f.
func (f PredictorFunc) Predict(ctx context.Context, in Batch) (Batch, error) { return f(ctx, in) }

// Joiner is a Predictor that lays the rows of several batches together itself, where they are
// to be computed, and so saves a copy. The parts have the same tensors, in the same order,
// which differ in their first dimension alone; everything else of the first part holds for
// all. The answer is as Predict's on the batch of all rows in the order of the parts.
type Joiner interface {
	Predictor
	PredictJoined(ctx context.Context, parts []Batch) (Batch, error)
}

// Model is a loaded version of a model. It must not keep the input of a Predict that has
// returned: in a plugin it lies in memory that the host uses again. Close frees what it holds after calls under way have
// returned; it may be called twice. Predict after Close fails with ErrUnavailable.
type Model interface {
	Predictor
	Signature() Signature
	Close() error
}

// Backend turns model files into models, on one kind of device.
type Backend interface {
	// Info says what this backend is. It doubles as the health check: it must be quick and
	// must not wait for loads or predictions under way.
	Info(ctx context.Context) (Info, error)
	// Load reads and prepares a model. A file that this backend cannot serve is an
	// ErrInvalid (damaged, hostile) or ErrUnsupported (names operator, node and opset).
	Load(ctx context.Context, spec Spec) (Model, error)
	// Close frees everything, loaded models included.
	Close() error
}

// Info describes a backend.
type Info struct {
	Name    string // the word used in model.yaml, such as "cpu"
	Version string
	Device  string // for people, such as "x86-64 AVX-512, 2 threads"

	// Concurrency is how many batches the backend computes best at the same time; 0 for one.
	Concurrency int
}

// Spec says what to load and how.
type Spec struct {
	Model   string
	Version string
	Dir     string            // the version's folder; nothing outside it is read
	Options map[string]string // the backend's own settings; an unknown one is an ErrInvalid

	// MaxRows is how many rows a batch will have at most, as far as is known; 0 where it is
	// not. It is advice for who makes room for them: a larger batch is answered, too.
	MaxRows int

	// Weights, if not nil, is memory for the constants of the model that this process shares with
	// the others that load it, as package weights uses it, and Locker is where they leave each other
	// handles of memory that is elsewhere. Both stay open while the backend does.
	Weights, Locker *os.File
}
