package backendtest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/thrumserve/thrum/backends"
)

// FakeFile is the model file of a Fake: three numbers, the width of a row, a scale and a
// shift.
const FakeFile = "affine.txt"

// WriteFake writes a model for a Fake into dir.
func WriteFake(dir string, width int, scale, shift float32) error {
	return os.WriteFile(filepath.Join(dir, FakeFile), fmt.Appendf(nil, "%d %g %g end\n", width, scale, shift), 0o644)
}

// Fake is a backend that is simple enough to be right. Its models take x, FP32 of [-1, width],
// and give y = scale·x + shift of the same shape and sum, FP32 of [-1, 1], the sum of each
// row of y.
//
// The hooks, where set, are called at the start of the method they are named for; an error
// is then the method's. They are how a test makes a backend slow, hang, panic or die.
type Fake struct {
	OnInfo    func(ctx context.Context) error
	OnLoad    func(ctx context.Context, spec backends.Spec) error
	OnPredict func(ctx context.Context, in backends.Batch) error
	OnClose   func() error

	// OnAnswer, where set, replaces an answer.
	OnAnswer func(in, out backends.Batch) backends.Batch

	mu     sync.Mutex // guards closed
	closed bool
}

// Info names the backend "fake".
func (f *Fake) Info(ctx context.Context) (backends.Info, error) {
	if f.OnInfo != nil {
		if err := f.OnInfo(ctx); err != nil {
			return backends.Info{}, err
		}
	}
	return backends.Info{Name: "fake", Version: "1", Device: "none", Concurrency: 8}, ctx.Err()
}

// Load reads FakeFile. It has no options.
func (f *Fake) Load(ctx context.Context, spec backends.Spec) (backends.Model, error) {
	if f.OnLoad != nil {
		if err := f.OnLoad(ctx, spec); err != nil {
			return nil, err
		}
	}
	if f.isClosed() {
		return nil, backends.Errorf(backends.ErrUnavailable, "the backend is closed")
	}
	for name := range spec.Options {
		return nil, backends.Errorf(backends.ErrInvalid, "unknown option %q: a fake has none", name)
	}
	text, err := os.ReadFile(filepath.Join(spec.Dir, FakeFile))
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "load %s: %w", spec.Model, err)
	}
	m := &fakeModel{fake: f}
	if _, err := fmt.Sscanf(string(text), "%d %g %g end", &m.width, &m.scale, &m.shift); err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "load %s: %s: %w", spec.Model, FakeFile, err)
	}
	return m, ctx.Err()
}

// Close closes the backend and its models.
func (f *Fake) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	if f.OnClose != nil {
		return f.OnClose()
	}
	return nil
}

func (f *Fake) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

type fakeModel struct {
	fake         *Fake
	width        int
	scale, shift float32

	mu     sync.RWMutex // held for reading by every call under way
	closed bool
}

func (m *fakeModel) Signature() backends.Signature {
	row := []int64{-1, int64(m.width)}
	return backends.Signature{
		Platform: "affine",
		Inputs:   []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: row}},
		Outputs: []backends.TensorSpec{
			{Name: "y", Datatype: backends.FP32, Shape: row},
			{Name: "sum", Datatype: backends.FP32, Shape: []int64{-1, 1}},
		},
		Batched: true,
	}
}

func (m *fakeModel) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed || m.fake.isClosed() {
		return backends.Batch{}, backends.Errorf(backends.ErrUnavailable, "the model is closed")
	}
	if err := m.Signature().Check(in); err != nil {
		return backends.Batch{}, err
	}
	if m.fake.OnPredict != nil {
		if err := m.fake.OnPredict(ctx, in); err != nil {
			return backends.Batch{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return backends.Batch{}, err
	}
	out := m.answer(in)
	if m.fake.OnAnswer != nil {
		out = m.fake.OnAnswer(in, out)
	}
	return out, nil
}

func (m *fakeModel) answer(in backends.Batch) backends.Batch {
	y, sum := m.compute(in.Tensors[0].Data)
	rows := int64(in.Rows())
	all := map[string]backends.Tensor{
		"y":   {Name: "y", Datatype: backends.FP32, Shape: []int64{rows, int64(m.width)}, Data: y},
		"sum": {Name: "sum", Datatype: backends.FP32, Shape: []int64{rows, 1}, Data: sum},
	}
	wanted := in.Outputs
	if wanted == nil {
		wanted = []string{"y", "sum"}
	}
	var out backends.Batch
	for _, name := range wanted {
		out.Tensors = append(out.Tensors, all[name])
	}
	return out
}

func (m *fakeModel) compute(x []byte) (y, sum []byte) {
	y = make([]byte, 0, len(x))
	total := float32(0)
	for i := 0; i < len(x); i += 4 {
		v := m.scale*math.Float32frombits(binary.LittleEndian.Uint32(x[i:])) + m.shift
		y = binary.LittleEndian.AppendUint32(y, math.Float32bits(v))
		total += v
		if len(y)%(4*m.width) == 0 {
			sum = binary.LittleEndian.AppendUint32(sum, math.Float32bits(total))
			total = 0
		}
	}
	return y, sum
}

func (m *fakeModel) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
