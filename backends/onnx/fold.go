package onnx

import (
	"errors"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// maxGrowth bounds what folding may add to the memory of a model's constants.
const maxGrowth = 256 << 20

// maxRounds bounds how often Fold starts again because a result's size, unknown beforehand,
// made those of others known.
const maxRounds = 8

// Fold evaluates with eval every node whose inputs are all constants, marks its outputs as
// constants and removes it; types and shapes are then inferred anew with what became known.
// inputs has nil where the node leaves one out; eval returns one tensor for each of
// n.Outputs, ignored where that is nil. If eval's error wraps backends.ErrUnsupported the
// node stays; any other error ends the folding.
//
// A node is evaluated only if the size of its result is known beforehand and the constants
// that are in use then take at most 256 MiB more than the model's own, so a small file that
// asks for a large constant keeps asking for it at run time.
func (g *Graph) Fold(eval func(n *Node, inputs []*backends.Tensor) ([]*backends.Tensor, error)) error {
	f := &folding{eval: eval, spare: maxGrowth}
	for range maxRounds {
		before := g.size()
		if err := f.round(g); err != nil {
			return err
		}
		g.tidy()
		if err := g.infer(); err != nil {
			return err
		}
		g.tidy()
		if g.size() == before {
			break
		}
	}
	return nil
}

// size returns the number of nodes, those of subgraphs too.
func (g *Graph) size() int {
	n := 0
	for range g.allNodes() {
		n++
	}
	return n
}

// constants returns the inputs of n as tensors, false if one is no constant.
func constants(n *Node) ([]*backends.Tensor, bool) {
	inputs := make([]*backends.Tensor, len(n.Inputs))
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if inputs[i] = v.Const; v.Const == nil {
			return nil, false
		}
	}
	return inputs, true
}

// folding keeps account of the bytes of constants that are still in use.
type folding struct {
	eval    func(n *Node, inputs []*backends.Tensor) ([]*backends.Tensor, error)
	readers map[*Value]int
	spare   int64
}

// round evaluates each node once.
func (f *folding) round(g *Graph) error {
	f.count(g)
	for n := range g.allNodes() {
		inputs, ok := constants(n)
		if !ok || len(n.subgraphs()) > 0 || !f.allows(n) {
			continue
		}
		results, err := f.eval(n, inputs)
		if errors.Is(err, backends.ErrUnsupported) {
			continue
		}
		if err != nil {
			return invalid(n, "%w", err)
		}
		if err := f.store(n, results); err != nil {
			return err
		}
	}
	return nil
}

// count counts who reads each value; the caller of the model is one of them.
func (f *folding) count(g *Graph) {
	f.readers = map[*Value]int{}
	for n := range g.allNodes() {
		for _, v := range n.Inputs {
			f.readers[v]++
		}
		for _, sub := range n.subgraphs() {
			f.countAll(sub.Outputs)
		}
	}
	f.countAll(g.Outputs)
}

func (f *folding) countAll(outputs []*Value) {
	for _, v := range outputs {
		f.readers[v]++
	}
}

// allows reports whether the results of n fit the memory that is left.
func (f *folding) allows(n *Node) bool {
	size := int64(0)
	for _, v := range n.Outputs {
		if v == nil {
			continue
		}
		bytes := resultBytes(n, v)
		if bytes < 0 {
			return false
		}
		size += bytes
	}
	return size <= f.spare
}

// resultBytes returns the most bytes that v can have as a result of n, or -1 if that is not
// known. Elements are counted as 16 bytes where they are strings.
func resultBytes(n *Node, v *Value) int64 {
	count := elements(v.Shape)
	if n.Op == "NonZero" && v.HasShape {
		count = n.Inputs[0].Const.Elements() * v.Shape[0].Size
	}
	size := int64(v.Datatype.Size())
	if v.Datatype == backends.Bytes {
		size = 16
	}
	if !v.HasShape || count < 0 || count > 1<<40 {
		return -1
	}
	return count * size
}

// store makes the outputs of n constants.
func (f *folding) store(n *Node, results []*backends.Tensor) error {
	if len(results) != len(n.Outputs) {
		return invalid(n, "folding gave %d results for %d outputs", len(results), len(n.Outputs))
	}
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		t := results[i]
		if t == nil || t.Datatype != v.Datatype || t.Check() != nil || !agreeAll(fixedDims(t.Shape), v.Shape) {
			return invalid(n, "folding gave no tensor of type %v and shape %v for output %d", v.Datatype, sizes(v.Shape, -1), i)
		}
		named := *t
		named.Name = v.Name
		v.Const, v.Shape = &named, fixedDims(t.Shape)
		f.spare -= int64(len(t.Data))
	}
	f.release(n)
	return nil
}

// release gives back the memory of constants that only n needed.
func (f *folding) release(n *Node) {
	for _, v := range n.Inputs {
		if v == nil {
			continue
		}
		if f.readers[v]--; f.readers[v] == 0 {
			f.spare += int64(len(v.Const.Data))
			v.Const, v.Producer = nil, nil
		}
	}
}

func agreeAll(a, b []Dim) bool { return slices.EqualFunc(a, b, agree) }
