package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// MaxIterations bounds how often the bodies of loops run in one prediction, all together: a
// loop that never ends by itself fails there with ErrInvalid, unless the context ends before.
const MaxIterations = 1 << 22

// body is a subgraph made ready to run. Its values have slots in the plan that it is part of,
// so what it reads of the graphs around it is simply there.
type body struct {
	steps   []step
	inputs  []*onnx.Value
	outputs []*onnx.Value
	own     []int // slots of the values that only this body has
}

// body makes the subgraph that an attribute holds ready to run.
func (n *node) body(name string) (*body, error) {
	g, ok := n.Attrs[name].(*onnx.Graph)
	if !ok {
		return nil, backends.Errorf(backends.ErrInvalid, "attribute %q holds no graph", name)
	}
	b := &body{inputs: g.Inputs, outputs: g.Outputs, own: slots(g.Inputs)}
	for _, inner := range g.Live() {
		s, err := n.build(inner, n.engine)
		if err != nil {
			return nil, err
		}
		b.steps = append(b.steps, s)
		b.own = append(b.own, s.out...)
	}
	b.own = slices.DeleteFunc(b.own, negative)
	b.findLastUses()
	n.bodies = append(n.bodies, b)
	return b, nil
}

// hasBody says whether an attribute is a graph.
func (n *node) hasBody() bool {
	for _, v := range n.Attrs {
		if _, ok := v.(*onnx.Graph); ok {
			return true
		}
	}
	return false
}

// findLastUses tells each step which of the body's values to free after it. Its outputs stay.
func (b *body) findLastUses() {
	idle := map[int]bool{} // own values that no later step reads
	for _, slot := range b.own {
		idle[slot] = true
	}
	for _, v := range b.outputs {
		idle[v.ID] = false
	}
	for i := range slices.Backward(b.steps) {
		s := &b.steps[i]
		for _, slot := range slices.Concat(s.in, s.out) {
			if idle[slot] {
				idle[slot] = false
				s.last = append(s.last, slot)
			}
		}
	}
}

// follow runs a body whose inputs are set, while a step is under way.
func (r *run) follow(b *body) error {
	under, first, in, out := r.under, r.first, r.in, r.out
	r.first, r.in, r.out = len(r.temps), in[len(in):], out[len(out):]
	err := r.steps(b.steps, nil)
	r.dropTemps()
	r.under, r.first, r.in, r.out = under, first, in, out
	return err
}

// free ends the use of all values of a body.
func (r *run) free(b *body) {
	for _, slot := range b.own {
		r.drop(&r.values[slot])
	}
}

// input returns where input i of a body is to be put.
func (r *run) input(b *body, i int) *tensor { return &r.values[b.inputs[i].ID] }

// output returns output i of a body that has run.
func (r *run) output(b *body, i int) *tensor { return &r.values[b.outputs[i].ID] }

// iterate refuses to go on when the context has ended, or after too many iterations.
func (r *run) iterate() error {
	if r.iterations++; r.iterations > r.engine.iterations {
		return backends.Errorf(backends.ErrInvalid, "loops have run more than %d iterations in one prediction", r.engine.iterations)
	}
	return r.ctx.Err()
}

// truth returns the one element of a BOOL tensor.
func truth(t *tensor) (bool, error) {
	if t.dtype != backends.Bool || t.len() != 1 {
		return false, backends.Errorf(backends.ErrInvalid, "a condition of shape %v, not of one element", t.shape)
	}
	return t.raw[0] != 0, nil
}

// buildIf builds the choice between two bodies.
func buildIf(n *node) (kernel, error) {
	then, err := n.body("then_branch")
	if err != nil {
		return nil, err
	}
	otherwise, err := n.body("else_branch")
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		cond, err := truth(in[0])
		if err != nil {
			return err
		}
		b := otherwise
		if cond {
			b = then
		}
		defer r.free(b)
		if err := r.follow(b); err != nil {
			return err
		}
		for i, t := range out {
			if t != nil {
				t.share(r.output(b, i), r.output(b, i).shape)
			}
		}
		return nil
	}, nil
}

// buildLoop builds the repetition of a body, as often as a count and a condition say.
func buildLoop(n *node) (kernel, error) {
	b, err := n.body("body")
	if err != nil {
		return nil, err
	}
	l := loop{body: b, carried: len(n.Arguments()) - 2}
	return l.kernel, nil
}

type loop struct {
	body    *body
	carried int // values that one iteration hands to the next
}

func (l loop) kernel(r *run, in, out []*tensor) error {
	trips, more, err := l.limits(in)
	if err != nil {
		return err
	}
	state := r.hold(in[2 : 2+l.carried])
	collected := newCollectors(l.body.outputs[1+l.carried:])
	defer r.free(l.body)
	for i := 0; more && i != trips; i++ {
		if err := r.iterate(); err != nil {
			return err
		}
		if err := l.enter(r, i, state); err != nil {
			return err
		}
		if err := r.follow(l.body); err != nil {
			return err
		}
		if more, err = truth(r.output(l.body, 0)); err != nil {
			return err
		}
		if err := r.leave(l.body, 1, state, collected); err != nil {
			return err
		}
	}
	return r.finish(out, state, collected)
}

// limits returns the number of iterations, -1 if nothing bounds it, and whether there is a first.
func (l loop) limits(in []*tensor) (trips int, more bool, err error) {
	trips, more = -1, true
	if in[0] != nil {
		n, err := in[0].ints()
		if err != nil || len(n) != 1 {
			return 0, false, backends.Errorf(backends.ErrInvalid, "a trip count of shape %v, not of one element", in[0].shape)
		}
		trips = max(0, n[0])
	}
	if in[1] != nil {
		more, err = truth(in[1])
	}
	return trips, more, err
}

// enter sets the inputs of the body for iteration i.
func (l loop) enter(r *run, i int, state []*tensor) error {
	one := func(at int) []int { return orOnes(nil, len(l.body.inputs[at].Shape)) }
	if err := r.makeTensor(r.input(l.body, 0), backends.Int64, one(0)); err != nil {
		return err
	}
	view[int64](r.input(l.body, 0))[0] = int64(i)
	if err := r.makeTensor(r.input(l.body, 1), backends.Bool, one(1)); err != nil {
		return err
	}
	r.input(l.body, 1).raw[0] = 1
	r.hand(l.body, 2, state)
	return nil
}

// hold returns tensors, scratch of the step under way, that share the ones given.
func (r *run) hold(values []*tensor) []*tensor {
	held := make([]*tensor, len(values))
	for i, v := range values {
		held[i] = r.scratch()
		held[i].share(v, v.shape)
	}
	return held
}

// hand moves the state into the inputs of a body, from the given one on.
func (r *run) hand(b *body, first int, state []*tensor) {
	for i, t := range state {
		r.input(b, first+i).share(t, t.shape)
		r.drop(t)
	}
}

// leave takes the state and what is collected from the outputs of a body, from the given one
// on, and frees its values.
func (r *run) leave(b *body, first int, state []*tensor, collected []collector) error {
	for i, t := range state {
		from := r.output(b, first+i)
		t.share(from, from.shape)
	}
	for i := range collected {
		if err := collected[i].add(r.output(b, first+len(state)+i), r.limit); err != nil {
			return err
		}
	}
	r.free(b)
	return nil
}

// finish gives a node its outputs: the state, then what is collected.
func (r *run) finish(out []*tensor, state []*tensor, collected []collector) error {
	for i, t := range out {
		switch {
		case t == nil:
		case i < len(state):
			t.share(state[i], state[i].shape)
		default:
			if err := collected[i-len(state)].finish(r, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// collector gathers what a body gives in each iteration.
type collector struct {
	dtype   backends.Datatype
	shape   []int // of each piece
	count   int
	raw     []byte
	strings []string

	backwards bool // the last piece comes first
	axis      int  // of the result, that counts the pieces
}

// newCollectors returns a collector for each of a body's outputs. As long as there is no piece
// dimensions of unknown size count as 0.
func newCollectors(values []*onnx.Value) []collector {
	all := make([]collector, len(values))
	for i, v := range values {
		all[i].dtype = v.Datatype
		for _, d := range v.Shape {
			all[i].shape = append(all[i].shape, max(0, int(d.Size)))
		}
	}
	return all
}

func (c *collector) add(t *tensor, limit int) error {
	if c.count == 0 {
		c.shape = slices.Clone(t.shape)
	}
	if !slices.Equal(t.shape, c.shape) || t.dtype != c.dtype {
		return backends.Errorf(backends.ErrInvalid, "iteration %d gives shape %v of %v where the first gave %v of %v", c.count, t.shape, t.dtype, c.shape, c.dtype)
	}
	if len(c.raw)+len(t.raw)+(len(c.strings)+len(t.strings))*stringBytes > limit {
		return backends.Errorf(backends.ErrInvalid, "what %d iterations give is larger than the %d bytes that a value may have", c.count+1, limit)
	}
	c.raw, c.strings = append(c.raw, t.raw...), append(c.strings, t.strings...)
	c.count++
	return nil
}

func (c *collector) finish(r *run, out *tensor) error {
	all := &tensor{dtype: c.dtype, shape: append([]int{c.count}, c.shape...), raw: c.raw, strings: c.strings}
	steps, from := strides(all.shape), 0
	if c.backwards && c.count > 0 {
		from, steps[0] = (c.count-1)*steps[0], -steps[0]
	}
	a, err := axis(c.axis, all.rank())
	if err != nil {
		return err
	}
	shape, step := all.shape[0], steps[0]
	moved := slices.Insert(slices.Clone(all.shape[1:]), a, shape)
	return r.rearrange(out, all, moved, slices.Insert(steps[1:], a, step), from)
}

// buildScan builds the walk of a body over slices of its inputs.
func buildScan(n *node) (kernel, error) {
	b, err := n.body("body")
	if err != nil {
		return nil, err
	}
	inputs := n.int("num_scan_inputs", 0)
	s := scan{
		body: b, states: len(n.Arguments()) - inputs,
		axes: n.ints("scan_input_axes"), directions: n.ints("scan_input_directions"),
		outputAxes: n.ints("scan_output_axes"), outputDirections: n.ints("scan_output_directions"),
	}
	collected := len(b.outputs) - s.states
	for _, l := range []struct {
		list *[]int
		want int
	}{{&s.axes, inputs}, {&s.directions, inputs}, {&s.outputAxes, collected}, {&s.outputDirections, collected}} {
		if *l.list == nil {
			*l.list = make([]int, l.want)
		}
		if len(*l.list) != l.want {
			return nil, backends.Errorf(backends.ErrInvalid, "axes or directions %v for %d values", *l.list, l.want)
		}
	}
	return s.kernel, nil
}

// scan holds the attributes of a Scan; lists have one entry per value.
type scan struct {
	body                         *body
	states                       int
	axes, directions             []int
	outputAxes, outputDirections []int
}

func (s scan) kernel(r *run, in, out []*tensor) error {
	inputs := in[s.states : s.states+len(s.axes)]
	axes, count, err := s.count(inputs)
	if err != nil {
		return err
	}
	state := r.hold(in[:s.states])
	collected := newCollectors(s.body.outputs[s.states:])
	for i := range collected {
		collected[i].axis, collected[i].backwards = s.outputAxes[i], s.outputDirections[i] != 0
	}
	defer r.free(s.body)
	for i := range count {
		if err := r.iterate(); err != nil {
			return err
		}
		r.hand(s.body, 0, state)
		for j, t := range inputs {
			at := i
			if s.directions[j] != 0 {
				at = count - 1 - i
			}
			piece := r.input(s.body, s.states+j)
			if err := r.slice(piece, t, axes[j], at, 1); err != nil {
				return err
			}
			piece.shape = slices.Delete(piece.shape, axes[j], axes[j]+1)
		}
		if err := r.follow(s.body); err != nil {
			return err
		}
		if err := r.leave(s.body, 0, state, collected); err != nil {
			return err
		}
	}
	return r.finish(out, state, collected)
}

// count returns the axes along which the inputs are cut, and how many slices each has.
func (s scan) count(inputs []*tensor) (axes []int, count int, err error) {
	for i, t := range inputs {
		a, err := axis(s.axes[i], t.rank())
		if err != nil {
			return nil, 0, err
		}
		if i == 0 {
			count = t.shape[a]
		}
		if t.shape[a] != count {
			return nil, 0, backends.Errorf(backends.ErrInvalid, "%d slices of one input and %d of another", count, t.shape[a])
		}
		axes = append(axes, a)
	}
	return axes, count, nil
}
