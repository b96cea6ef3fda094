// Package null is a backend without models: what it answers costs next to nothing, so that a
// benchmark of a server that serves it measures the server alone.
package null

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// The widths of a row unless a model says otherwise: those of an image of a handwritten digit
// and of the scores of ten classes.
const (
	defaultInputs  = 784
	defaultOutputs = 10
)

// The bounds of what a model may say.
const (
	maxWidth = 1 << 20
	maxTime  = time.Minute
)

// New returns the backend. A model takes x, FP32 of [-1, inputs], and gives y, FP32 of
// [-1, outputs]: the first values of the row of x, and zeros beyond its end. Its options are
// the two widths, "inputs" and "outputs", and "takes", a duration: how long a batch takes, during
// which nothing is computed; without it as short as can be. It reads no files.
func New() backends.Backend { return &backend{} }

type backend struct{ closed atomic.Bool }

func (b *backend) Info(context.Context) (backends.Info, error) {
	return backends.Info{Name: "null", Version: "1", Device: "none"}, nil
}

func (b *backend) Load(_ context.Context, spec backends.Spec) (backends.Model, error) {
	m := &model{backend: b, inputs: defaultInputs, outputs: defaultOutputs}
	for key, value := range spec.Options {
		if err := m.set(key, value); err != nil {
			return nil, err
		}
	}
	if b.closed.Load() {
		return nil, backends.Errorf(backends.ErrUnavailable, "the backend is closed")
	}
	return m, nil
}

func (b *backend) Close() error {
	b.closed.Store(true)
	return nil
}

type model struct {
	backend         *backend
	inputs, outputs int // values in a row
	takes           time.Duration
	closed          atomic.Bool
}

func (m *model) set(key, value string) error {
	if key == "takes" {
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 || d > maxTime {
			return backends.Errorf(backends.ErrInvalid, "takes %q: use a duration up to %v, such as 4ms", value, maxTime)
		}
		m.takes = d
		return nil
	}
	width := map[string]*int{"inputs": &m.inputs, "outputs": &m.outputs}[key]
	if width == nil {
		return backends.Errorf(backends.ErrInvalid, "unknown option %q of backend null: it has inputs, outputs and takes", key)
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxWidth {
		return backends.Errorf(backends.ErrInvalid, "%s %q: use a number from 1 to %d", key, value, maxWidth)
	}
	*width = n
	return nil
}

func (m *model) Signature() backends.Signature {
	return backends.Signature{
		Platform: "null",
		Inputs:   []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, int64(m.inputs)}}},
		Outputs:  []backends.TensorSpec{{Name: "y", Datatype: backends.FP32, Shape: []int64{-1, int64(m.outputs)}}},
		Batched:  true,
	}
}

func (m *model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	if m.closed.Load() || m.backend.closed.Load() {
		return backends.Batch{}, backends.Errorf(backends.ErrUnavailable, "the model is closed")
	}
	if err := ctx.Err(); err != nil {
		return backends.Batch{}, err
	}
	if err := m.Signature().Check(in); err != nil {
		return backends.Batch{}, err
	}
	if err := m.wait(ctx); err != nil {
		return backends.Batch{}, err
	}
	rows, x := in.Rows(), in.Tensors[0].Data
	wide, narrow := 4*m.inputs, 4*m.outputs
	y := make([]byte, rows*narrow)
	for i := range rows {
		copy(y[i*narrow:(i+1)*narrow], x[i*wide:(i+1)*wide])
	}
	return backends.Batch{Tensors: []backends.Tensor{
		{Name: "y", Datatype: backends.FP32, Shape: []int64{int64(rows), int64(m.outputs)}, Data: y},
	}}, nil
}

// wait lets the time of a batch pass.
func (m *model) wait(ctx context.Context) error {
	if m.takes == 0 {
		return nil
	}
	over := time.NewTimer(m.takes)
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *model) Close() error {
	m.closed.Store(true)
	return nil
}
