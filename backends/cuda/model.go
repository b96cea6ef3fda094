package cuda

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/backends/cuda/lower"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// maxPrograms bounds the shapes of inputs that a model is prepared for besides those it has been
// loaded with. The one that was prepared first makes room.
const maxPrograms = 64

// model is a version on a device.
type model struct {
	signature backends.Signature
	graph     *onnx.Graph
	precision precision
	engine    *engine
	device    int // its number
	buckets   []int
	answers   *answers
	gone      func() // called by the first Close, when nothing runs any more

	preparing sync.Mutex
	programs  programs

	life   sync.RWMutex // held for reading by every call under way, for writing by Close
	closed bool         // guarded by life
}

// newModel prepares the programs of a graph: one for each bucket where all other dimensions are known.
func newModel(ctx context.Context, g *onnx.Graph, e *engine, p precision, spec backends.Spec) (*model, error) {
	if err := fold(g, p.int8); err != nil {
		return nil, err
	}
	m := &model{signature: g.Signature(), graph: g, precision: p, engine: e, buckets: Buckets(spec.MaxRows), answers: newAnswers(e), gone: func() {}}
	m.signature.Precision = p.name
	e.tf32 = p.tf32
	rewrite.Apply(g, rewrite.Standard)
	small, err := m.check()
	if err != nil {
		return nil, err
	}
	if err := e.bringWeights(ctx, small, spec); err != nil {
		return nil, err
	}
	if !m.static() {
		return m, nil
	}
	for _, rows := range slices.Backward(m.buckets) { // the largest first: its memory does for all
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		x, err := m.program(m.shapes(int64(rows), 1))
		if err != nil {
			return nil, err
		}
		if err := m.warm(x); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// fold computes what is known of g, but for what is dequantised if that is to stay.
func fold(g *onnx.Graph, quantized bool) error {
	return cpu.Fold(g, func(n *onnx.Node) bool { return quantized && n.Op == "DequantizeLinear" })
}

// static says that nothing but the number of rows varies.
func (m *model) static() bool {
	return !slices.ContainsFunc(m.signature.Inputs, func(s backends.TensorSpec) bool {
		from := 0
		if m.signature.Batched {
			from = 1
		}
		return slices.Contains(s.Shape[min(from, len(s.Shape)):], -1)
	})
}

// shapes returns the shapes of the inputs for so many rows, with instead for what varies besides.
func (m *model) shapes(rows, instead int64) [][]int64 {
	all := make([][]int64, len(m.signature.Inputs))
	for i, s := range m.signature.Inputs {
		all[i] = slices.Clone(s.Shape)
		for k, n := range all[i] {
			if n < 0 {
				all[i][k] = instead
			}
		}
		if m.signature.Batched {
			all[i][0] = rows
		}
	}
	return all
}

// check lowers the model for some shapes, so that what the device does not have is refused now.
// Shapes that the model does not take, since it has more to say of them, say nothing of that: the
// program is empty then.
func (m *model) check() (*lower.Program, error) {
	p, err := m.lower(m.shapes(1, 8))
	if err == nil {
		x := m.engine.executable(p)
		_, err = x.binding(0, m.engine.tf32).launches(p)
	}
	if errors.Is(err, backends.ErrInvalid) && !m.static() {
		return &lower.Program{}, nil
	}
	return p, err
}

func (m *model) lower(shapes [][]int64) (*lower.Program, error) {
	g, err := m.graph.Specialise(shapes)
	if err != nil {
		return nil, err
	}
	if err := fold(g, m.precision.int8); err != nil {
		return nil, err
	}
	return lower.Lower(g, m.precision.float, m.precision.int8)
}

// programs are those prepared, by the shapes of their inputs.
type programs struct {
	mu    sync.RWMutex
	of    map[string]*executable
	order []string // of those that may make room
}

func (p *programs) find(key string) *executable {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.of[key]
}

// add keeps x, and returns what makes room for it.
func (p *programs) add(key string, x *executable, stays bool) (gone *executable) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string]*executable{}
	}
	p.of[key] = x
	if stays {
		return nil
	}
	if p.order = append(p.order, key); len(p.order) > maxPrograms {
		gone = p.of[p.order[0]]
		delete(p.of, p.order[0])
		p.order = p.order[1:]
	}
	return gone
}

// program returns the program for inputs of those shapes.
func (m *model) program(shapes [][]int64) (*executable, error) {
	key := fmt.Sprint(shapes)
	if x := m.programs.find(key); x != nil {
		return x, nil
	}
	m.preparing.Lock()
	defer m.preparing.Unlock()
	if x := m.programs.find(key); x != nil {
		return x, nil
	}
	p, err := m.lower(shapes)
	if err != nil {
		return nil, err
	}
	x, err := m.engine.prepare(p)
	if err != nil {
		return nil, err
	}
	if gone := m.programs.add(key, x, m.static() && m.signature.Batched); gone != nil {
		gone.retired.Store(true)
	}
	return x, nil
}

// warm captures x for every lane.
func (m *model) warm(x *executable) error {
	var all []*lane
	defer func() {
		for _, l := range all {
			m.engine.lanes <- l
		}
	}()
	for range lanes {
		l := <-m.engine.lanes
		all = append(all, l)
		if err := m.engine.context.In(func() error { return m.engine.ready(l, x) }); err != nil {
			return err
		}
	}
	return nil
}

// Signature says what the model takes and gives.
func (m *model) Signature() backends.Signature { return m.signature }

// Predict runs the model. The answer lies in pinned memory, which is used again when its lease is
// released.
func (m *model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	return m.PredictInto(ctx, in, func([]backends.Tensor) bool { return false })
}

// PredictInto runs the model. The answer lies where lay gives its tensors their data, if devices copy
// there, and else where Predict's does. Batches of more rows than the largest bucket are computed in
// parts.
func (m *model) PredictInto(ctx context.Context, in backends.Batch, lay func([]backends.Tensor) bool) (backends.Batch, error) {
	m.life.RLock()
	defer m.life.RUnlock()
	if m.closed {
		return backends.Batch{}, backends.Errorf(backends.ErrUnavailable, "the model is closed")
	}
	if err := m.signature.Check(in); err != nil {
		return backends.Batch{}, err
	}
	if err := ctx.Err(); err != nil {
		return backends.Batch{}, err
	}
	inputs := make([]backends.Tensor, len(m.signature.Inputs))
	for i, s := range m.signature.Inputs {
		inputs[i], _ = in.Tensor(s.Name)
	}
	wanted := in.Outputs
	if wanted == nil {
		for _, s := range m.signature.Outputs {
			wanted = append(wanted, s.Name)
		}
	}
	if !m.signature.Batched {
		return m.whole(ctx, inputs, wanted, lay)
	}
	return m.parts(ctx, inputs, answerOf{wanted, in.Rows(), lay})
}

// answerOf says which outputs an answer has, of how many rows, and what gives them their data.
type answerOf struct {
	outputs []string
	rows    int // -1 for as many as the program's
	lay     func([]backends.Tensor) bool
}

// whole computes a batch as it is.
func (m *model) whole(ctx context.Context, inputs []backends.Tensor, wanted []string, lay func([]backends.Tensor) bool) (backends.Batch, error) {
	shapes, data := make([][]int64, len(inputs)), make([][]byte, len(inputs))
	for i, t := range inputs {
		shapes[i], data[i] = t.Shape, t.Data
	}
	x, err := m.program(shapes)
	if err != nil {
		return backends.Batch{}, err
	}
	a, err := m.answer(x, answerOf{wanted, -1, lay})
	if err != nil {
		return backends.Batch{}, err
	}
	if err := m.engine.run(ctx, x, data, m.places(a, 0, 1, 1)); err != nil {
		a.Release()
		return backends.Batch{}, err
	}
	m.name(a, x.program.Names)
	return a, nil
}

// parts computes rows, as many at a time as the largest bucket holds.
func (m *model) parts(ctx context.Context, inputs []backends.Tensor, want answerOf) (backends.Batch, error) {
	var a backends.Batch
	var names [][]string
	rows, largest := want.rows, m.buckets[len(m.buckets)-1]
	for from := 0; from == 0 || from < rows; from += largest {
		n := min(rows-from, largest)
		bucket, _ := Bucket(m.buckets, n)
		x, err := m.program(bucketShapes(inputs, bucket))
		if err != nil {
			a.Release()
			return backends.Batch{}, err
		}
		if from == 0 {
			names = x.program.Names
			if a, err = m.answer(x, want); err != nil {
				return backends.Batch{}, err
			}
		}
		if rows == 0 {
			break
		}
		data := make([][]byte, len(inputs))
		for i, t := range inputs {
			row := len(t.Data) / rows
			data[i] = t.Data[from*row : (from+n)*row]
		}
		if err := m.engine.run(ctx, x, data, m.places(a, from, n, rows)); err != nil {
			a.Release()
			return backends.Batch{}, err
		}
	}
	m.name(a, names)
	return a, nil
}

// bucketShapes returns the shapes of inputs with another number of rows.
func bucketShapes(inputs []backends.Tensor, rows int) [][]int64 {
	shapes := make([][]int64, len(inputs))
	for i, t := range inputs {
		shapes[i] = slices.Clone(t.Shape)
		shapes[i][0] = int64(rows)
	}
	return shapes
}

func (m *model) output(name string) int {
	return slices.IndexFunc(m.signature.Outputs, func(s backends.TensorSpec) bool { return s.Name == name })
}

// answer makes room for the outputs that x gives.
func (m *model) answer(x *executable, want answerOf) (backends.Batch, error) {
	out, named := backends.Batch{Tensors: make([]backends.Tensor, len(want.outputs))}, false
	for i, name := range want.outputs {
		t := x.program.Outputs[m.output(name)]
		shape := slices.Clone(t.Shape)
		if want.rows >= 0 {
			shape[0] = int64(want.rows)
		}
		out.Tensors[i] = backends.Tensor{Name: name, Datatype: t.Type, Shape: shape}
		named = named || x.program.Names[m.output(name)] != nil
	}
	if !named && want.lay(out.Tensors) && !slices.ContainsFunc(out.Tensors, func(t backends.Tensor) bool { return !m.engine.pins.has(t.Data) }) {
		return out, nil
	}
	var err error
	out.Lease, err = m.answers.lay(out.Tensors)
	return out, err
}

// name puts names of classes in the place of their numbers, as memory of Go's: how much they take depends on
// which they are.
func (m *model) name(a backends.Batch, names [][]string) {
	for i, t := range a.Tensors {
		all := names[m.output(t.Name)]
		if all == nil {
			continue
		}
		var data []byte
		for numbers := t.Data; len(numbers) > 0; numbers = numbers[8:] {
			name := all[binary.LittleEndian.Uint64(numbers)]
			data = binary.LittleEndian.AppendUint32(data, uint32(len(name)))
			data = append(data, name...)
		}
		a.Tensors[i].Datatype, a.Tensors[i].Data = backends.Bytes, data
	}
}

// places returns where n rows of an answer of all rows lie, from one of them on.
func (m *model) places(a backends.Batch, from, n, all int) []place {
	places := make([]place, len(m.signature.Outputs))
	for _, t := range a.Tensors {
		row := len(t.Data) / all
		places[m.output(t.Name)] = t.Data[from*row : (from+n)*row]
	}
	return places
}

// Close waits for the calls under way and frees what the model has on the device.
func (m *model) Close() error {
	m.life.Lock()
	defer m.life.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	err := errors.Join(m.answers.close(), m.engine.close())
	m.gone()
	return err
}
