package onnx

import (
	"strings"
	"testing"
)

// withFunction calls a function that calls another: y = scaled(x) = leaky(x) with alpha 0.5.
func withFunction() []byte {
	standard := msg{}.text(1, "").num(2, 17)
	leaky := msg{}.text(1, "leaky").text(10, "mine").text(4, "a").text(5, "b").text(6, "slope").bytes(9, standard).
		bytes(7, node("LeakyRelu", "", names("a"), names("tmp"), msg{}.text(1, "alpha").text(21, "slope").num(20, 1))).
		bytes(7, node("Identity", "", names("tmp"), names("b")))
	outer := msg{}.text(1, "outer").text(10, "mine").text(4, "a").text(5, "b", "a").bytes(9, standard).bytes(9, msg{}.text(1, "mine").num(2, 1)).
		bytes(7, node("leaky", "", names("a"), names("tmp"), half()).text(7, "mine")).
		bytes(7, node("Neg", "", names("tmp"), names("b")))
	g := testGraph{inputs: []msg{value("x", float32Kind, "N")}, outputs: []msg{value("y", float32Kind, "N"), value("same", float32Kind, "N")},
		nodes: []msg{node("outer", "call", names("x"), names("y", "same")).text(7, "mine")}}
	return append(model(17, g), msg{}.bytes(25, leaky).bytes(25, outer)...)
}

func half() msg { return append(msg{}.text(1, "slope"), 0x15, 0, 0, 0, 0x3f, 0xa0, 1, 1) }

func TestFunctionsAreInlined(t *testing.T) {
	g := mustLoad(t, withFunction())
	var ops []string
	for _, n := range g.Nodes {
		ops = append(ops, n.Op)
	}
	if got := strings.Join(ops, " "); got != "LeakyRelu Identity Neg Identity" {
		t.Errorf("nodes = %s", got)
	}
	if got := g.Nodes[0].Attrs["alpha"]; got != float32(0.5) {
		t.Errorf("alpha = %v, want what the call gives", got)
	}
	if g.Outputs[0].Name != "y" || g.Outputs[1].Name != "same" || describeAll(g.Outputs) != "N FP32, N FP32" {
		t.Errorf("outputs = %s", describeAll(g.Outputs))
	}
}

func TestFunctionsThatAreRefused(t *testing.T) {
	standard := msg{}.text(1, "").num(2, 17)
	define := func(name string, nodes ...msg) msg {
		return msg{}.bytes(25, msg{}.text(1, name).text(10, "mine").text(4, "a").text(5, "b").bytes(9, standard).all(7, nodes))
	}
	call := func(name string) msg { return node(name, "", names("a"), names("b")).text(7, "mine") }
	twice := func(name string) []msg {
		return []msg{node(name, "", names("a"), names("t")).text(7, "mine"), node(name, "", names("t"), names("b")).text(7, "mine")}
	}
	bomb := define("f", node("Relu", "", names("a"), names("b")))
	last := "f"
	for range 7 {
		var nodes []msg
		for range 16 {
			nodes = append(nodes, twice(last)[0])
		}
		nodes = append(nodes, twice(last)[1])
		last += "f"
		bomb = append(bomb, define(last, nodes...)...)
	}
	chain := define("c", node("Relu", "", names("a"), names("b")))
	deep := "c"
	for range maxDepth {
		next := deep + "c"
		chain = append(chain, define(next, call(deep))...)
		deep = next
	}
	tests := []struct {
		name, called string
		functions    msg
		text         string
	}{
		{"function that calls itself", "f", define("f", call("f")), "it calls itself"},
		{"functions that call each other", "f", append(define("f", call("h")), define("h", call("f"))...), "it calls itself"},
		{"function defined twice", "f", append(define("f"), define("f")...), "defined twice"},
		{"functions nested too deep", deep, chain, "nested more than 8 deep"},
		{"functions that multiply", last, bomb, "more than 262144 nodes in functions"},
		{"function of an old opset", "f", msg{}.bytes(25, msg{}.text(1, "f").text(10, "mine").bytes(9, msg{}.num(2, 3))), "ai.onnx opset 3 is not supported"},
		{"more inputs than it takes", "g", msg{}.bytes(25, msg{}.text(1, "g").text(10, "mine")), "1 inputs and 1 outputs, it has 0 and 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := testGraph{inputs: []msg{value("x", float32Kind, "N")}, outputs: []msg{value("y", float32Kind, "N")},
				nodes: []msg{node(tt.called, "call", names("x"), names("y")).text(7, "mine")}}
			if _, err := load(t, append(model(17, g), tt.functions...)); err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Load = %v, want %q", err, tt.text)
			}
		})
	}
}
