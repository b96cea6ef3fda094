package cpu

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// step is one node with its place in a plan. Slots number the values of a plan; -1 stands
// for a value that is left out.
type step struct {
	id     int    // in the plan, the steps of bodies counted too
	name   string // of the node
	op     string
	kernel kernel
	in     []int
	out    []int
	last   []int // slots that no later step reads
	bodies []*body
}

// plan is a graph made ready to run: steps in order over slots that hold values. Any number of
// runs may follow it at once; what it learns of them is all that changes.
type plan struct {
	steps     []step
	slots     int
	ids       int             // of steps
	constants map[int]*tensor // by slot
	varying   []int           // all other slots
	inputs    []named
	outputs   []named
	fixed     []bool // steps whose results depend on the shapes of the inputs alone
	kept      []bool // their results that others read
	buckets   buckets
	arenas    atomic.Int64 // bytes of all arenas
}

// named is the slot of an input or an output.
type named struct {
	name string
	slot int
}

// newPlan builds a kernel for every node of g that an output needs.
func newPlan(g *onnx.Graph, e *engine) (*plan, error) {
	p := &plan{slots: len(g.Values), constants: map[int]*tensor{}}
	for _, v := range g.Inputs {
		p.inputs = append(p.inputs, named{v.Name, v.ID})
	}
	for _, v := range g.Outputs {
		p.outputs = append(p.outputs, named{v.Name, v.ID})
	}
	for _, n := range g.Live() {
		s, err := build(n, e)
		if err != nil {
			return nil, err
		}
		p.steps = append(p.steps, s)
	}
	if err := p.keepConstants(g, e); err != nil {
		return nil, err
	}
	for slot := range p.slots {
		if p.constants[slot] == nil {
			p.varying = append(p.varying, slot)
		}
	}
	p.findLastUses()
	p.findFixed()
	p.number(p.steps)
	return p, nil
}

// number gives all steps an id.
func (p *plan) number(steps []step) {
	for i := range steps {
		steps[i].id = p.ids
		p.ids++
		for _, b := range steps[i].bodies {
			p.number(b.steps)
		}
	}
}

func slots(values []*onnx.Value) []int {
	all := make([]int, len(values))
	for i, v := range values {
		all[i] = -1
		if v != nil {
			all[i] = v.ID
		}
	}
	return all
}

// keepConstants fills the slots of constants that a step or an output reads.
func (p *plan) keepConstants(g *onnx.Graph, e *engine) error {
	keep := func(slot int) error {
		if slot < 0 || g.Values[slot].Const == nil || p.constants[slot] != nil {
			return nil
		}
		t, err := e.copied(g.Values[slot].Const)
		p.constants[slot] = t
		return err
	}
	for _, o := range p.outputs {
		if err := keep(o.slot); err != nil {
			return err
		}
	}
	return eachRead(p.steps, keep)
}

// eachRead calls f for every slot that steps or the bodies in them read, until it fails.
func eachRead(steps []step, f func(slot int) error) error {
	for i := range steps {
		for _, slot := range steps[i].in {
			if err := f(slot); err != nil {
				return err
			}
		}
		for _, b := range steps[i].bodies {
			for _, v := range b.outputs {
				if err := f(v.ID); err != nil {
					return err
				}
			}
			if err := eachRead(b.steps, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// findLastUses tells each step which values to free after it.
func (p *plan) findLastUses() {
	used := make([]bool, p.slots)
	for slot := range p.constants {
		used[slot] = true
	}
	for _, o := range p.outputs {
		used[o.slot] = true
	}
	for i := range slices.Backward(p.steps) {
		s := &p.steps[i]
		for _, slot := range slices.Concat(s.in, s.out) {
			if slot >= 0 && !used[slot] {
				used[slot] = true
				s.last = append(s.last, slot)
			}
		}
	}
}

// needed returns which steps the wanted outputs need, or nil if that is all of them.
func (p *plan) needed(wanted []int) []bool {
	if len(wanted) == len(p.outputs) {
		return nil
	}
	values := make([]bool, p.slots)
	for _, o := range wanted {
		values[p.outputs[o].slot] = true
	}
	steps := make([]bool, len(p.steps))
	for i := range slices.Backward(p.steps) {
		s := &p.steps[i]
		if !slices.ContainsFunc(s.out, func(slot int) bool { return slot >= 0 && values[slot] }) {
			continue
		}
		steps[i] = true
		for _, slot := range s.in {
			if slot >= 0 {
				values[slot] = true
			}
		}
	}
	return steps
}

// newRun returns the state for executions of p, one after another.
func (p *plan) newRun(e *engine) *run {
	r := &run{engine: e, values: make([]tensor, p.slots), limit: e.limit, in: make([]*tensor, 0, 64), out: make([]*tensor, 0, 64)}
	r.states, r.arena.all = make([][]any, p.ids), &p.arenas
	for slot, t := range p.constants {
		r.values[slot] = *t
	}
	return r
}

// compute computes the outputs that are asked for, which must exist, and adds them to a.
func (p *plan) compute(ctx context.Context, r *run, in backends.Batch, a *answer) error {
	defer p.clear(r)
	for i := range in.Tensors {
		slot, ok := p.input(in.Tensors[i].Name)
		if !ok {
			return backends.Errorf(backends.ErrInvalid, "unknown input %q", in.Tensors[i].Name)
		}
		if err := r.values[slot].importTensor(&in.Tensors[i]); err != nil {
			return err
		}
	}
	k := p.bucket(r, in.Outputs)
	l := k.layout.Load()
	if l == nil {
		a.begin(0)
	} else {
		a.begin(l.answer)
	}
	r.begin(l, a)
	r.ctx, r.iterations = ctx, 0
	if err := p.follow(r, k); err != nil {
		return err
	}
	for _, o := range k.wanted {
		a.add(p.outputs[o].name, &r.values[p.outputs[o].slot])
	}
	p.learn(r, k)
	return nil
}

// follow runs the steps that k needs: all of them the first time, when what depends on shapes alone
// is found out.
func (p *plan) follow(r *run, k *bucket) error {
	if s := k.special.Load(); s != nil {
		s.set(r)
		return r.steps(p.steps, s.needed)
	}
	w := &watch{constants: map[int]tensor{}}
	r.watch = func(s *step) { p.saw(r, w, s) }
	defer func() { r.watch = nil }()
	if err := r.steps(p.steps, k.needed); err != nil {
		return err
	}
	r.lost = true // what it takes without those steps is for the next one to record
	k.special.Store(p.specialise(w, k))
	return nil
}

// input returns the slot of an input.
func (p *plan) input(name string) (slot int, ok bool) {
	for i := range p.inputs {
		if p.inputs[i].name == name {
			return p.inputs[i].slot, true
		}
	}
	return 0, false
}

// bucket returns what is known of executions with the inputs that r has.
func (p *plan) bucket(r *run, names []string) *bucket {
	mark := r.mark()
	defer r.reset(mark)
	key := p.key(r, names)
	if k := p.buckets.find(key); k != nil {
		return k
	}
	k := &bucket{key: slices.Clone(key)}
	for i := range p.outputs {
		if names == nil {
			k.wanted = append(k.wanted, i)
		}
	}
	for _, name := range names {
		k.wanted = append(k.wanted, p.output(name))
	}
	k.needed = p.needed(k.wanted)
	if !slices.Contains(p.fixed, true) {
		k.special.Store(&special{needed: k.needed})
	}
	p.buckets.add(k)
	return k
}

// key lists the shapes of the inputs and the outputs wanted.
func (p *plan) key(r *run, names []string) []int {
	n := 1 + len(names)
	for _, in := range p.inputs {
		n += 1 + len(r.values[in.slot].shape)
	}
	key := r.ints(n)[:0]
	for _, in := range p.inputs {
		t := &r.values[in.slot]
		if t.dtype == backends.Invalid {
			key = append(key, -1)
			continue
		}
		key = append(append(key, len(t.shape)), t.shape...)
	}
	if names != nil {
		key = append(key, -2)
	}
	for _, name := range names {
		key = append(key, p.output(name))
	}
	return key
}

func (p *plan) output(name string) int {
	return slices.IndexFunc(p.outputs, func(o named) bool { return o.name == name })
}

// learn makes a layout for k of what r has recorded.
func (p *plan) learn(r *run, k *bucket) {
	if r.layout != nil || r.lost {
		return
	}
	leaves := func(block int) bool {
		return slices.ContainsFunc(k.wanted, func(o int) bool {
			t := &r.values[p.outputs[o].slot]
			return t.buf != nil && t.buf.number == block && t.dtype != backends.Bytes
		})
	}
	if l := k.learn(r.record, leaves); l != nil {
		r.want = max(r.want, l.arena)
	}
}

// clear forgets all values of r but the constants.
func (p *plan) clear(r *run) {
	r.first = 0
	for _, t := range r.temps {
		*t = tensor{shape: t.shape}
	}
	r.temps = r.temps[:0]
	for _, slot := range p.varying {
		t := &r.values[slot]
		*t = tensor{shape: t.shape[:0]}
	}
	r.end()
}
