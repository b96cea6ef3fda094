package cpu

import (
	"context"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// step is one node with its place in a plan. Slots number the values of a plan; -1 stands
// for a value that is left out.
type step struct {
	name   string // of the node
	op     string
	kernel kernel
	in     []int
	out    []int
	last   []int // slots that no later step reads
	bodies []*body
}

// plan is a graph made ready to run: steps in order over slots that hold values. It is
// immutable; any number of runs may follow it at once.
type plan struct {
	steps     []step
	slots     int
	constants map[int]*tensor // by slot
	inputs    map[string]int  // slot by name
	outputs   []output
}

type output struct {
	name string
	slot int
}

// newPlan builds a kernel for every node of g that an output needs.
func newPlan(g *onnx.Graph, e *engine) (*plan, error) {
	p := &plan{slots: len(g.Values), constants: map[int]*tensor{}, inputs: map[string]int{}}
	for _, v := range g.Inputs {
		p.inputs[v.Name] = v.ID
	}
	for _, v := range g.Outputs {
		p.outputs = append(p.outputs, output{v.Name, v.ID})
	}
	for _, n := range liveNodes(g) {
		s, err := build(n, e)
		if err != nil {
			return nil, err
		}
		p.steps = append(p.steps, s)
	}
	if err := p.keepConstants(g, e); err != nil {
		return nil, err
	}
	p.findLastUses()
	return p, nil
}

// liveNodes returns the nodes that an output of g needs, in order.
func liveNodes(g *onnx.Graph) []*onnx.Node {
	needed := map[*onnx.Value]bool{}
	for _, v := range g.Outputs {
		needed[v] = true
	}
	var live []*onnx.Node
	for _, n := range slices.Backward(g.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(v *onnx.Value) bool { return v != nil && v.Const == nil && needed[v] }) {
			continue
		}
		live = append(live, n)
		for _, v := range n.Inputs {
			needed[v] = true
		}
	}
	slices.Reverse(live)
	return live
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
func (p *plan) needed(wanted []output) []bool {
	if len(wanted) == len(p.outputs) {
		return nil
	}
	values := make([]bool, p.slots)
	for _, o := range wanted {
		values[o.slot] = true
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
	r := &run{engine: e, values: make([]tensor, p.slots), limit: e.limit}
	for slot, t := range p.constants {
		r.values[slot] = *t
	}
	return r
}

// execute computes the wanted outputs from the tensors given.
func (p *plan) execute(ctx context.Context, r *run, in []backends.Tensor, wanted []output) ([]backends.Tensor, error) {
	defer p.clear(r)
	for i := range in {
		slot, ok := p.inputs[in[i].Name]
		if !ok {
			return nil, backends.Errorf(backends.ErrInvalid, "unknown input %q", in[i].Name)
		}
		if err := r.values[slot].importTensor(&in[i]); err != nil {
			return nil, err
		}
	}
	r.ctx, r.iterations = ctx, 0
	if err := r.steps(p.steps, p.needed(wanted)); err != nil {
		return nil, err
	}
	all := make([]backends.Tensor, len(wanted))
	for i, o := range wanted {
		all[i] = r.values[o.slot].exportTensor(o.name)
	}
	// What has left may be kept by whoever has it, so its memory is not used again.
	for _, o := range wanted {
		r.values[o.slot].buf = nil
	}
	return all, nil
}

// clear forgets all values of r but the constants.
func (p *plan) clear(r *run) {
	r.dropTemps()
	for slot := range r.values {
		if p.constants[slot] == nil {
			r.drop(&r.values[slot])
		}
	}
}

// wanted returns the outputs of those names, which must exist, or all if names is nil.
func (p *plan) wanted(names []string) []output {
	if names == nil {
		return p.outputs
	}
	all := make([]output, len(names))
	for i, name := range names {
		all[i] = p.outputs[slices.IndexFunc(p.outputs, func(o output) bool { return o.name == name })]
	}
	return all
}
