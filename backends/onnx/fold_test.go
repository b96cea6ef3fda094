package onnx

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// evaluator computes Neg of INT64 and Transpose as zeros, and counts what it was asked.
type evaluator struct{ asked []string }

func (e *evaluator) eval(n *Node, inputs []*backends.Tensor) ([]*backends.Tensor, error) {
	e.asked = append(e.asked, n.Name)
	if n.Op != "Neg" {
		return zeros(n), nil
	}
	var data []byte
	for b := inputs[0].Data; len(b) > 0; b = b[8:] {
		data = binary.LittleEndian.AppendUint64(data, -binary.LittleEndian.Uint64(b))
	}
	return []*backends.Tensor{{Datatype: backends.Int64, Shape: inputs[0].Shape, Data: data}}, nil
}

func TestFoldReplacesNodesByConstantsAndInfersAnew(t *testing.T) {
	// The target of the Reshape is a matrix product away from inference's own arithmetic.
	g := mustLoad(t, model(17, testGraph{
		inputs:  []msg{value("x", float32Kind, "N", 12)},
		outputs: []msg{value("y", float32Kind, nil, nil, nil), value("w", float32Kind, 3, 4)},
		inits:   []msg{rawTensor("t", int64Kind, []int64{1, 3}, packInts([]int64{0, -3, -4}, 8)), intTensor("three", 3), floatTensor("m", 4, 3)},
		nodes: []msg{
			node("Neg", "neg", names("t"), names("n")),
			node("Reshape", "vector", names("n", "three"), names("target")),
			node("Reshape", "view", names("x", "target"), names("y")),
			node("Transpose", "turn", names("m"), names("w")),
		},
	}))
	if got := describeShape(g.Outputs[0]); got != "?×?×?" {
		t.Errorf("shape before Fold = %s", got)
	}
	e := &evaluator{}
	err := g.Fold(func(n *Node, inputs []*backends.Tensor) ([]*backends.Tensor, error) {
		if n.Op == "Reshape" {
			e.asked = append(e.asked, n.Name)
			return []*backends.Tensor{{Datatype: backends.Int64, Shape: []int64{3}, Data: inputs[0].Data}}, nil
		}
		return e.eval(n, inputs)
	})
	if err != nil || strings.Join(e.asked, " ") != "neg vector turn" {
		t.Fatalf("Fold = %v after %v", err, e.asked)
	}
	if len(g.Nodes) != 1 || describeShape(g.Outputs[0]) != "N×3×4" {
		t.Errorf("Fold left %s", describe(g))
	}
	if w := g.Outputs[1]; w.Const == nil || w.Producer != nil || w.Const.Name != "w" {
		t.Errorf("output w = %+v, want a constant", w)
	}
	for i, v := range g.Values {
		if v.ID != i {
			t.Errorf("value %q: ID %d at index %d", v.Name, v.ID, i)
		}
	}
}

// foldable has one node of constants.
func foldable(op string, inits []msg, attrs ...msg) []byte {
	var reads []string
	for i := range inits {
		reads = append(reads, string(rune('a'+i)))
	}
	return model(17, testGraph{
		inits: inits, outputs: []msg{msg{}.text(1, "y")},
		nodes: []msg{node(op, "n", reads, names("z"), attrs...), node("Identity", "last", names("z"), names("y"))},
	})
}

func TestFoldLeavesAlone(t *testing.T) {
	unsupported := func(n *Node, _ []*backends.Tensor) ([]*backends.Tensor, error) {
		return nil, Unsupported(n, "not here")
	}
	forbidden := func(n *Node, _ []*backends.Tensor) ([]*backends.Tensor, error) {
		t.Errorf("Fold asked for %s", n.Name)
		return nil, Unsupported(n, "not here")
	}
	tests := []struct {
		name string
		data []byte
		eval func(*Node, []*backends.Tensor) ([]*backends.Tensor, error)
	}{
		{"what the engine does not support", foldable("Transpose", []msg{floatTensor("a", 2, 3)}), unsupported},
		{"results beyond the bound", foldable("ConstantOfShape", []msg{intTensor("a", 1<<14, 1<<14)}), forbidden},
		{"results of unknown size", foldable("Expand", []msg{floatTensor("a", 1), rawTensor("b", int64Kind, []int64{maxVector + 1}, make([]byte, 8*(maxVector+1)))}), forbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := mustLoad(t, tt.data)
			if err := g.Fold(tt.eval); err != nil || len(g.Nodes) != 2 {
				t.Errorf("Fold = %v, left %s", err, describe(g))
			}
		})
	}
}

// TestFoldGrowsNoFurtherThanItsBound asks for 300 results of a MiB each, all still in use.
func TestFoldGrowsNoFurtherThanItsBound(t *testing.T) {
	graph := testGraph{inits: []msg{intTensor("a", 1<<18)}, outputs: []msg{msg{}.text(1, "y")}}
	var all []string
	for i := range 300 {
		name := "c" + formatInt(int64(i))
		graph.nodes = append(graph.nodes, node("ConstantOfShape", name, names("a"), names(name)))
		all = append(all, name)
	}
	graph.nodes = append(graph.nodes, node("Concat", "join", all, names("y"), attr("axis", 0)))
	g := mustLoad(t, model(17, graph))
	e := &evaluator{}
	if err := g.Fold(e.eval); err != nil || len(e.asked) != 256 {
		t.Errorf("Fold = %v after %d evaluations, want 256", err, len(e.asked))
	}
}

func TestFoldFreesWhatIsNotReadAnyMore(t *testing.T) {
	graph := testGraph{inits: []msg{intTensor("c0", 1<<20)}, outputs: []msg{msg{}.text(1, "y")}}
	graph.nodes = append(graph.nodes, node("ConstantOfShape", "make", names("c0"), names("v0")))
	for i := range 100 {
		graph.nodes = append(graph.nodes, node("Abs", "", names("v"+formatInt(int64(i))), names("v"+formatInt(int64(i+1)))))
	}
	graph.nodes = append(graph.nodes, node("Identity", "", names("v100"), names("y")))
	g := mustLoad(t, model(17, graph))
	e := &evaluator{}
	if err := g.Fold(e.eval); err != nil || len(g.Nodes) != 0 {
		t.Errorf("Fold = %v, left %d nodes of a chain of 4 MiB each", err, len(g.Nodes))
	}
}

func TestFoldKnowsHowManyElementsCanBeNonZero(t *testing.T) {
	g := mustLoad(t, foldable("NonZero", []msg{floatTensor("a", 2, 3)}))
	err := g.Fold(func(n *Node, inputs []*backends.Tensor) ([]*backends.Tensor, error) {
		return []*backends.Tensor{{Datatype: backends.Int64, Shape: []int64{2, 1}, Data: make([]byte, 16)}}, nil
	})
	if err != nil || len(g.Nodes) != 0 || describeAll(g.Outputs) != "2×1 INT64" {
		t.Errorf("Fold = %v, left %s", err, describe(g))
	}
}

func TestFoldRefusesWrongResults(t *testing.T) {
	failure := errors.New("engine fault")
	good := &backends.Tensor{Datatype: backends.FP32, Shape: []int64{3, 2}, Data: make([]byte, 24)}
	tests := []struct {
		name    string
		results []*backends.Tensor
		err     error
		text    string
	}{
		{"engine fault", nil, failure, `operator Transpose (node "n", ai.onnx opset 17): engine fault`},
		{"too many", []*backends.Tensor{good, good}, nil, "2 results for 1 outputs"},
		{"none", []*backends.Tensor{nil}, nil, "no tensor of type FP32"},
		{"of another type", []*backends.Tensor{{Datatype: backends.Int32, Shape: good.Shape, Data: good.Data}}, nil, "no tensor of type FP32"},
		{"of another shape", []*backends.Tensor{{Datatype: backends.FP32, Shape: []int64{2, 3}, Data: good.Data}}, nil, "and shape [3 2]"},
		{"cut short", []*backends.Tensor{{Datatype: backends.FP32, Shape: good.Shape, Data: good.Data[:20]}}, nil, "no tensor"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := mustLoad(t, foldable("Transpose", []msg{floatTensor("a", 2, 3)}))
			err := g.Fold(func(*Node, []*backends.Tensor) ([]*backends.Tensor, error) { return tt.results, tt.err })
			if err == nil || !strings.Contains(err.Error(), tt.text) || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("Fold = %v, want %q", err, tt.text)
			}
		})
	}
}
