package onnx

import (
	"errors"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// untyped declares a value without a type, as exporters do inside of subgraphs.
func untyped(name string) msg { return msg{}.text(1, name) }

// looping is a model with a Loop that adds y, a value of the outer graph, to what it carries.
func looping(body testGraph) testGraph {
	return testGraph{
		inputs:  []msg{value("x", float32Kind, "N", 4), value("y", float32Kind, "N", 4), value("trips", int64Kind)},
		outputs: []msg{shapeless("last", float32Kind), shapeless("all", float32Kind)},
		nodes: []msg{
			node("Relu", "before", names("y"), names("positive")),
			node("Loop", "loop", names("trips", "", "x"), names("last", "all"), attr("body", body)),
		},
	}
}

func adding() testGraph {
	return testGraph{
		inputs:  []msg{untyped("i"), untyped("go"), value("sum", float32Kind, "N", 4)},
		outputs: []msg{untyped("go"), untyped("next"), untyped("next")},
		nodes:   []msg{node("Add", "add", names("sum", "positive"), names("next"))},
	}
}

func TestLoopListsWhatItsBodyReads(t *testing.T) {
	g := mustLoad(t, model(17, looping(adding())))
	n := g.Nodes[len(g.Nodes)-1]
	if n.Op != "Loop" || n.Captured != 1 || n.Inputs[3].Name != "positive" || len(n.Arguments()) != 3 || n.Inputs[1] != nil {
		t.Fatalf("Loop = %+v, want 3 arguments and positive", n)
	}
	if got := describeAll(g.Outputs); !strings.HasPrefix(got, "?") {
		t.Errorf("outputs = %s", got)
	}
	if all := g.Outputs[1]; len(all.Shape) != 3 || all.Shape[2].Size != 4 {
		t.Errorf("all = %+v, want three dimensions, the last of 4", all.Shape)
	}
	for i, v := range g.Values {
		if v.ID != i {
			t.Errorf("value %q has ID %d at %d", v.Name, v.ID, i)
		}
	}
	body := n.Attrs["body"].(*Graph)
	if v := body.Inputs[2]; g.Values[v.ID] != v {
		t.Errorf("the body's value %q is not among the graph's", v.Name)
	}
}

func TestIfOfTheRunHasBothBranches(t *testing.T) {
	branch := func(op string) testGraph {
		return testGraph{nodes: []msg{node(op, op, names("x"), names("z"))}, outputs: []msg{shapeless("z", float32Kind)}}
	}
	graph := func(other testGraph) testGraph {
		return testGraph{inputs: []msg{value("x", float32Kind, "N", 4), value("c", boolKind)}, outputs: []msg{shapeless("y", float32Kind)},
			nodes: []msg{node("If", "choice", names("c"), names("y"), attr("then_branch", branch("Relu")), attr("else_branch", other))}}
	}
	g := mustLoad(t, model(17, graph(branch("Sigmoid"))))
	if n := g.Nodes[0]; n.Op != "If" || n.Captured != 1 || n.Inputs[1].Name != "x" {
		t.Errorf("If = %+v", n)
	}
	if got := describeAll(g.Outputs); got != "N×4 FP32" {
		t.Errorf("y = %s, want the shape that both branches give", got)
	}
	narrow := branch("Relu")
	narrow.nodes = []msg{node("ReduceSum", "sum", names("x"), names("z"))}
	if got := describeAll(mustLoad(t, model(17, graph(narrow))).Outputs); strings.Contains(got, "4") {
		t.Errorf("y = %s, want nothing that only one branch gives", got)
	}
}

func TestSubgraphsThatContradictTheirNode(t *testing.T) {
	with := func(change func(*testGraph)) []byte {
		body := adding()
		change(&body)
		return model(17, looping(body))
	}
	cast := func(name string, to int) msg { return node("Cast", "cast", names("sum"), names(name), attr("to", to)) }
	tests := []struct {
		name string
		data []byte
		text string
	}{
		{"carried value that changes its type", with(func(g *testGraph) { g.nodes = []msg{cast("next", int64Kind)} }), "becomes INT64 in the body, it must stay FP32"},
		{"condition that is no boolean", with(func(g *testGraph) {
			g.nodes = append(g.nodes, cast("c", float32Kind))
			g.outputs[0] = untyped("c")
		}), "the body's condition is FP32"},
		{"too few inputs", with(func(g *testGraph) {
			g.inputs = g.inputs[:2]
			g.nodes = []msg{node("Relu", "r", names("positive"), names("next"))}
		}), "the body needs an iteration number"},
		{"too few outputs", with(func(g *testGraph) { g.outputs = g.outputs[:2] }), "the body needs an iteration number"},
		{"declared type that it does not get", with(func(g *testGraph) { g.inputs[0] = shapeless("i", float32Kind) }), "declares element type 1"},
		{"declared shape that contradicts", with(func(g *testGraph) { g.nodes = []msg{node("Reshape", "r", names("sum", "shape"), names("next"))} }), "reads \"shape\", which nothing produces"},
		{"body that reads what comes after", with(func(g *testGraph) { g.nodes = []msg{node("Add", "add", names("sum", "last"), names("next"))} }), "cycle"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.data)
			if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Load = %v, want ErrInvalid that says %q", err, test.text)
			}
		})
	}
}

func TestScanSlicesItsInputs(t *testing.T) {
	body := testGraph{
		inputs:  []msg{untyped("sum"), untyped("slice")},
		outputs: []msg{untyped("next"), untyped("next")},
		nodes:   []msg{node("Add", "add", names("sum", "slice"), names("next"))},
	}
	graph := func(axis int64) testGraph {
		return testGraph{inputs: []msg{value("start", float32Kind, 3), value("x", float32Kind, 3, 5)},
			outputs: []msg{shapeless("last", float32Kind), shapeless("all", float32Kind)},
			nodes: []msg{node("Scan", "scan", names("start", "x"), names("last", "all"), attr("body", body), attr("num_scan_inputs", 1),
				attr("scan_input_axes", []int64{axis}))}}
	}
	g := mustLoad(t, model(17, graph(1)))
	slice := g.Nodes[0].Attrs["body"].(*Graph).Inputs[1]
	if len(slice.Shape) != 1 || slice.Shape[0].Size != 3 {
		t.Errorf("slice = %+v, want [3]", slice.Shape)
	}
	if _, err := load(t, model(17, graph(2))); err == nil || !strings.Contains(err.Error(), "axis 2 does not exist") {
		t.Errorf("Load = %v", err)
	}
}

// TestFoldingReachesIntoBodies folds a chain of constants in a body, whose result the loop
// then need not compute each time.
func TestFoldingReachesIntoBodies(t *testing.T) {
	body := adding()
	body.inits = []msg{floatTensor("w", 4)}
	body.nodes = []msg{node("Exp", "exp", names("w"), names("e")), node("Add", "add", names("sum", "e"), names("next"))}
	g := mustLoad(t, model(17, looping(body)))
	err := g.Fold(func(n *Node, inputs []*backends.Tensor) ([]*backends.Tensor, error) {
		if n.Op != "Exp" {
			return nil, Unsupported(n, "not folded")
		}
		return inputs, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	loop := g.Nodes[0]
	if got := loop.Attrs["body"].(*Graph).Nodes; len(got) != 1 || loop.Captured != 0 || len(g.Nodes) != 1 {
		t.Errorf("body has %d nodes, the graph %d, captured are %d, want 1, 1 and 0", len(got), len(g.Nodes), loop.Captured)
	}
}
