package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// buildRecurrent builds LSTM, GRU and RNN.
func buildRecurrent(n *node) (kernel, error) {
	for i, v := range n.Inputs {
		if v != nil && i != 4 && v.Datatype != backends.FP32 {
			return nil, n.unsupported("an input of %v", n.input(i))
		}
	}
	c := recurrence{
		cell: cells[n.Op], clip: n.float("clip", 0), batchFirst: n.int("layout", 0) != 0,
		coupled: n.int("input_forget", 0) != 0, resetAfter: n.int("linear_before_reset", 0) != 0,
		precision: n.engine.precision.ofWeights(),
	}
	switch n.string("direction", "forward") {
	case "forward":
		c.backwards = []bool{false}
	case "reverse":
		c.backwards = []bool{true}
	case "bidirectional":
		c.backwards = []bool{false, true}
	default:
		return nil, backends.Errorf(backends.ErrInvalid, "direction %q", n.string("direction", ""))
	}
	var err error
	if c.functions, err = functionsOf(n, c.cell.functions, len(c.backwards)); err != nil {
		return nil, err
	}
	w, recurring, bias := n.constant(1), n.constant(2), n.constant(3)
	if w == nil || recurring == nil || n.given(3) && bias == nil {
		return c.kernel, nil
	}
	layers, err := c.pack(w, recurring, bias)
	if err != nil {
		return nil, err
	}
	n.taken = append(n.taken, 1, 2)
	return func(r *run, in, out []*tensor) error { return c.run(r, in, out, layers) }, nil
}

// cell is what the three operators differ in.
type cell struct {
	gates     int
	functions []string // where the node does not say
	step      func(*recurrence, *layer, *moment)
}

var cells = map[string]cell{
	"LSTM": {4, []string{"Sigmoid", "Tanh", "Tanh"}, (*recurrence).lstm},
	"GRU":  {3, []string{"Sigmoid", "Tanh"}, (*recurrence).gru},
	"RNN":  {1, []string{"Tanh"}, (*recurrence).rnn},
}

// recurrence holds the attributes of the node.
type recurrence struct {
	cell
	backwards  []bool          // by direction
	functions  [][]elementFunc // by direction
	clip       float32         // bounds what goes into the functions, 0 for no bound
	batchFirst bool
	coupled    bool // LSTM: the forget gate is what the input gate leaves
	resetAfter bool // GRU: the reset gate acts on the product, not on the state
	precision  kernels.Precision
}

// layer is one direction's weights.
type layer struct {
	input  *kernels.Packed // for all gates at once
	gates  *kernels.Packed // of the state, for all gates that see the whole of it
	hidden *kernels.Packed // GRU: of the state, for the candidate
	bias   []float32       // of the inputs' product, with that of the state's where both add up
	after  []float32       // GRU: the bias that the reset gate acts on
}

// pack packs the weights of all directions.
func (c *recurrence) pack(w, recurring, bias *tensor) ([]layer, error) {
	if w.rank() != 3 || recurring.rank() != 3 || w.shape[0] != len(c.backwards) || recurring.shape[0] != len(c.backwards) ||
		recurring.shape[1] != w.shape[1] || recurring.shape[2]*c.gates != w.shape[1] ||
		bias != nil && !slices.Equal(bias.shape, []int{len(c.backwards), 2 * w.shape[1]}) {
		return nil, backends.Errorf(backends.ErrInvalid, "weights of shapes %v and %v for %d gates and %d directions, or a bias that does not fit them", w.shape, recurring.shape, c.gates, len(c.backwards))
	}
	layers := make([]layer, len(c.backwards))
	rows, in, hidden := w.shape[1], w.shape[2], recurring.shape[2]
	for d := range layers {
		own := view[float32](recurring)[d*rows*hidden:][:rows*hidden]
		l := layer{input: c.packRows(view[float32](w)[d*rows*in:][:rows*in], rows, in)}
		if c.gates == 3 {
			l.hidden = c.packRows(own[2*hidden*hidden:], hidden, hidden)
			own = own[:2*hidden*hidden]
		}
		l.gates = c.packRows(own, len(own)/hidden, hidden)
		l.bias, l.after = make([]float32, rows), make([]float32, hidden)
		if bias != nil {
			c.addBias(&l, view[float32](bias)[d*2*rows:][:2*rows])
		}
		layers[d] = l
	}
	return layers, nil
}

// packRows packs the transpose of n rows of k values.
func (c *recurrence) packRows(w []float32, n, k int) *kernels.Packed {
	return kernels.PackB(kernels.Matrix{Data: w, K: k, N: n, Stride: k, Transposed: true}, c.precision)
}

func (c *recurrence) addBias(l *layer, bias []float32) {
	rows := len(l.bias)
	copy(l.bias, bias[:rows])
	own := bias[rows:]
	if c.gates == 3 && c.resetAfter {
		copy(l.after, own[rows/3*2:])
		own = own[:rows/3*2]
	}
	addLoop(l.bias[:len(own)], l.bias[:len(own)], own)
}

// kernel runs a node whose weights are values of the run.
func (c *recurrence) kernel(r *run, in, out []*tensor) error {
	var bias *tensor
	if len(in) > 3 {
		bias = in[3]
	}
	layers, err := c.pack(in[1], in[2], bias)
	if err != nil {
		return err
	}
	return c.run(r, in, out, layers)
}

// moment is where one direction is: the state of all rows of the batch, and the gates of a step.
type moment struct {
	run           *run
	rows, width   int       // of the state
	hidden, cell  []float32 // the state
	gates         []float32 // rows of all gates, the inputs' part in them already
	candidate     []float32 // GRU
	next, nextOwn []float32 // the state after the step
	peepholes     []float32 // LSTM, or nil
	functions     []elementFunc
}

func (c *recurrence) run(r *run, in, out []*tensor, layers []layer) error {
	x := in[0]
	if x.rank() != 3 || x.shape[2] != layers[0].input.K() {
		return backends.Errorf(backends.ErrInvalid, "an input of shape %v for weights of %d columns", x.shape, layers[0].input.K())
	}
	if c.batchFirst {
		turned := r.scratch()
		if err := r.transpose(turned, x, []int{1, 0, 2}); err != nil {
			return err
		}
		x = turned
	}
	s := sequence{steps: x.shape[0], rows: x.shape[1], width: layers[0].gates.K(), directions: len(layers)}
	if err := s.readLengths(in); err != nil {
		return err
	}
	all, last, lastCell := r.scratch(), r.scratch(), r.scratch()
	for _, t := range []struct {
		to    *tensor
		shape []int
	}{{all, []int{s.steps, s.directions, s.rows, s.width}}, {last, []int{s.directions, s.rows, s.width}}, {lastCell, []int{s.directions, s.rows, s.width}}} {
		if err := r.makeTensor(t.to, backends.FP32, t.shape); err != nil {
			return err
		}
	}
	clear(all.raw)
	for d := range layers {
		if err := c.direction(r, in, x, s, d, &layers[d], [3][]float32{view[float32](all), view[float32](last), view[float32](lastCell)}); err != nil {
			return err
		}
	}
	return c.finish(r, out, []*tensor{all, last, lastCell})
}

// sequence is what the input comes to.
type sequence struct {
	steps, rows, width, directions int
	lengths                        []int // of each row
}

func (s *sequence) readLengths(in []*tensor) error {
	s.lengths = make([]int, s.rows)
	fill(s.lengths, s.steps)
	if len(in) < 5 || in[4] == nil {
		return nil
	}
	given, err := in[4].ints()
	if err != nil || len(given) != s.rows || slices.ContainsFunc(given, func(n int) bool { return n < 0 || n > s.steps }) {
		return backends.Errorf(backends.ErrInvalid, "sequence_lens of shape %v for %d sequences of at most %d steps", in[4].shape, s.rows, s.steps)
	}
	s.lengths = given
	return nil
}

// state returns a copy of direction d of an initial state, or zeros.
func (c *recurrence) state(in []*tensor, i int, s sequence, d int) ([]float32, error) {
	all := make([]float32, s.rows*s.width)
	if i >= len(in) || in[i] == nil {
		return all, nil
	}
	want := []int{s.directions, s.rows, s.width}
	if c.batchFirst {
		want = []int{s.rows, s.directions, s.width}
	}
	if !slices.Equal(in[i].shape, want) {
		return nil, backends.Errorf(backends.ErrInvalid, "an initial state of shape %v where %v is needed", in[i].shape, want)
	}
	from := view[float32](in[i])
	for row := range s.rows {
		at := d*s.rows + row
		if c.batchFirst {
			at = row*s.directions + d
		}
		copy(all[row*s.width:(row+1)*s.width], from[at*s.width:])
	}
	return all, nil
}

// direction runs all steps of one direction; to has all states, the last, and the last cells.
func (c *recurrence) direction(r *run, in []*tensor, x *tensor, s sequence, d int, l *layer, to [3][]float32) error {
	gates, size := l.input.N(), s.rows*s.width
	m := &moment{
		run: r, rows: s.rows, width: s.width, functions: c.functions[d],
		gates: make([]float32, s.rows*gates), candidate: make([]float32, size), next: make([]float32, size), nextOwn: make([]float32, size),
	}
	var err error
	if m.hidden, err = c.state(in, 5, s, d); err != nil {
		return err
	}
	if m.cell, err = c.state(in, 6, s, d); err != nil {
		return err
	}
	if len(in) > 7 && in[7] != nil {
		if !slices.Equal(in[7].shape, []int{s.directions, 3 * s.width}) {
			return backends.Errorf(backends.ErrInvalid, "peepholes of shape %v for a state of %d", in[7].shape, s.width)
		}
		m.peepholes = view[float32](in[7])[d*3*s.width:][:3*s.width]
	}
	projected := r.scratch()
	if err := r.makeTensor(projected, backends.FP32, []int{s.steps, s.rows, gates}); err != nil {
		return err
	}
	product := view[float32](projected)
	kernels.Gemm(r.engine.pool, s.steps*s.rows, view[float32](x), l.input.K(), l.input, product, gates, kernels.Epilogue{Bias: l.bias})
	for step := range s.steps {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		for row, n := range s.lengths {
			if at := c.place(d, step, n); at >= 0 {
				copy(m.gates[row*gates:(row+1)*gates], product[(at*s.rows+row)*gates:])
			}
		}
		c.step(c, l, m)
		for row, n := range s.lengths {
			at := c.place(d, step, n)
			if at < 0 {
				continue
			}
			span := func(v []float32) []float32 { return v[row*s.width : (row+1)*s.width] }
			copy(span(m.hidden), span(m.next))
			copy(span(m.cell), span(m.nextOwn))
			copy(to[0][((at*s.directions+d)*s.rows+row)*s.width:][:s.width], span(m.next))
		}
	}
	copy(to[1][d*size:], m.hidden)
	copy(to[2][d*size:], m.cell)
	return nil
}

// place returns which element of a sequence of length n a direction reads at a step, -1 after its end.
func (c *recurrence) place(d, step, n int) int {
	switch {
	case step >= n:
		return -1
	case c.backwards[d]:
		return n - 1 - step
	}
	return step
}

// finish gives the outputs the layout that the node has.
func (c *recurrence) finish(r *run, out []*tensor, made []*tensor) error {
	perms := [][]int{{2, 0, 1, 3}, {1, 0, 2}, {1, 0, 2}}
	for i, t := range out {
		switch {
		case t == nil:
		case c.batchFirst:
			if err := r.transpose(t, made[i], perms[i]); err != nil {
				return err
			}
		default:
			t.share(made[i], made[i].shape)
		}
	}
	return nil
}

// add adds the product of the state and weights to the gates.
func (m *moment) add(w *kernels.Packed) {
	ld := len(m.gates) / max(1, m.rows)
	kernels.Gemm(m.run.engine.pool, m.rows, m.hidden, m.width, w, m.gates, ld, kernels.Epilogue{Residual: m.gates})
}

// gate returns gate i of a row.
func (m *moment) gate(row, i int) []float32 {
	per := len(m.gates) / m.rows
	return m.gates[row*per+i*m.width:][:m.width]
}

// of returns the elements of a row of the state.
func (m *moment) of(state []float32, row int) []float32 {
	return state[row*m.width : (row+1)*m.width]
}

// apply clips values and applies a function to them.
func (c *recurrence) apply(f elementFunc, values []float32) {
	if c.clip > 0 {
		for i, v := range values {
			values[i] = max(-c.clip, min(c.clip, v))
		}
	}
	f(values)
}

func (c *recurrence) rnn(l *layer, m *moment) {
	m.add(l.gates)
	c.apply(m.functions[0], m.gates)
	copy(m.next, m.gates)
}

// lstm has the gates input, output, forget and cell, in that order.
func (c *recurrence) lstm(l *layer, m *moment) {
	m.add(l.gates)
	for row := range m.rows {
		input, output, forget, cell := m.gate(row, 0), m.gate(row, 1), m.gate(row, 2), m.gate(row, 3)
		old, state, hidden := m.of(m.cell, row), m.of(m.nextOwn, row), m.of(m.next, row)
		m.peep(input, old, 0)
		c.apply(m.functions[0], input)
		if c.coupled {
			for i, v := range input {
				forget[i] = 1 - v
			}
		} else {
			m.peep(forget, old, 2)
			c.apply(m.functions[0], forget)
		}
		c.apply(m.functions[1], cell)
		for i := range state {
			state[i] = forget[i]*old[i] + input[i]*cell[i]
		}
		m.peep(output, state, 1)
		c.apply(m.functions[0], output)
		copy(hidden, state)
		m.functions[2](hidden)
		mulLoop(hidden, hidden, output)
	}
}

// peep adds peephole i times the cell to a gate.
func (m *moment) peep(gate, cell []float32, i int) {
	if m.peepholes == nil {
		return
	}
	for j, p := range m.peepholes[i*m.width : (i+1)*m.width] {
		gate[j] += p * cell[j]
	}
}

// gru has the gates update, reset and candidate, in that order.
func (c *recurrence) gru(l *layer, m *moment) {
	m.add(l.gates)
	pool := m.run.engine.pool
	for row := range m.rows {
		c.apply(m.functions[0], m.gate(row, 0))
		c.apply(m.functions[0], m.gate(row, 1))
	}
	if c.resetAfter {
		kernels.Gemm(pool, m.rows, m.hidden, m.width, l.hidden, m.candidate, m.width, kernels.Epilogue{Bias: l.after})
		for row := range m.rows {
			mulLoop(m.of(m.candidate, row), m.of(m.candidate, row), m.gate(row, 1))
		}
	} else {
		for row := range m.rows {
			mulLoop(m.of(m.next, row), m.of(m.hidden, row), m.gate(row, 1))
		}
		kernels.Gemm(pool, m.rows, m.next, m.width, l.hidden, m.candidate, m.width, kernels.Epilogue{})
	}
	for row := range m.rows {
		candidate, update, old := m.of(m.candidate, row), m.gate(row, 0), m.of(m.hidden, row)
		addLoop(candidate, candidate, m.gate(row, 2))
		c.apply(m.functions[1], candidate)
		for i, z := range update {
			m.next[row*m.width+i] = (1-z)*candidate[i] + z*old[i]
		}
	}
}

// elementFunc maps each element in place.
type elementFunc func(values []float32)

// functionsOf returns the functions that the node names for each direction, those given where
// it names none.
func functionsOf(n *node, otherwise []string, directions int) ([][]elementFunc, error) {
	names := n.strings("activations")
	if names == nil {
		for range directions {
			names = append(names, otherwise...)
		}
	}
	if len(names) != directions*len(otherwise) {
		return nil, backends.Errorf(backends.ErrInvalid, "activations %v: it needs %d", names, directions*len(otherwise))
	}
	p := parameters{alpha: n.floats("activation_alpha"), beta: n.floats("activation_beta")}
	all := make([][]elementFunc, directions)
	for i, name := range names {
		f := p.function(name)
		if f == nil {
			return nil, n.unsupported("activation %q", name)
		}
		all[i/len(otherwise)] = append(all[i/len(otherwise)], f)
	}
	return all, nil
}

// parameters are those of the functions that have some, in the order of the functions.
type parameters struct{ alpha, beta []float32 }

func next(all *[]float32, otherwise float32) float32 {
	if len(*all) == 0 {
		return otherwise
	}
	v := (*all)[0]
	*all = (*all)[1:]
	return v
}

// function returns the function of that name, or nil.
func (p *parameters) function(name string) elementFunc {
	fast := func(a kernels.Activation) elementFunc {
		return func(values []float32) { kernels.Apply(values, values, a) }
	}
	switch name {
	case "Relu", "Tanh", "Sigmoid", "Softplus":
		return fast(kernels.Activation{Function: activations[name]})
	case "LeakyRelu":
		return fast(kernels.Activation{Function: kernels.LeakyRelu, Alpha: next(&p.alpha, 0.01)})
	case "Elu":
		return fast(kernels.Activation{Function: kernels.Elu, Alpha: next(&p.alpha, 1)})
	case "HardSigmoid":
		return fast(kernels.Activation{Function: kernels.HardSigmoid, Alpha: next(&p.alpha, 0.2), Beta: next(&p.beta, 0.5)})
	case "Softsign":
		return eachReal(plainFuncs["Softsign"])
	case "Affine":
		a, b := float64(next(&p.alpha, 1)), float64(next(&p.beta, 0))
		return eachReal(func(v float64) float64 { return a*v + b })
	case "ThresholdedRelu":
		a := float64(next(&p.alpha, 1))
		return eachReal(func(v float64) float64 {
			if v > a {
				return v
			}
			return 0
		})
	case "ScaledTanh":
		a, b := float64(next(&p.alpha, 1)), float64(next(&p.beta, 1))
		return eachReal(func(v float64) float64 { return a * math.Tanh(b*v) })
	}
	return nil
}

func eachReal(f func(float64) float64) elementFunc {
	return func(values []float32) {
		for i, v := range values {
			values[i] = float32(f(float64(v)))
		}
	}
}
