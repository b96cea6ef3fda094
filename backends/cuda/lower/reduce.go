package lower

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// reductions are what is done before, in, and after the joining of elements.
var reductions = map[string]struct{ before, join, after string }{
	"ReduceSum":       {"", "Sum", ""},
	"ReduceMean":      {"", "Mean", ""},
	"ReduceMax":       {"", "Max", ""},
	"ReduceMin":       {"", "Min", ""},
	"ReduceL1":        {"Abs", "Sum", ""},
	"ReduceL2":        {"Square", "Sum", "Sqrt"},
	"ReduceSumSquare": {"Square", "Sum", ""},
}

func lowerReduce(c *call) error {
	x, shape := c.in(0), c.shape(0)
	list := c.list("axes", 1)
	if c.err != nil {
		return c.err
	}
	if len(list) == 0 && c.int("noop_with_empty_axes", 0) != 0 {
		return c.give(x)
	}
	var axes []int
	for _, a := range list {
		axes = append(axes, axis(a, len(x.Shape)))
	}
	if len(list) == 0 {
		for i := range x.Shape {
			axes = append(axes, i)
		}
	}
	r := reductions[c.Op]
	switch r.before {
	case "Square":
		x = c.apply(Map{Function: "Mul"}, x.Type, x.Shape, x, x)
	case "Abs":
		x = c.apply(Map{Function: "Abs"}, x.Type, x.Shape, x)
	}
	out := c.shaped(c.reduce(r.join, x, axes), shape...)
	if r.after != "" {
		out = c.apply(Map{Function: r.after}, out.Type, shape, out)
	}
	return c.give(out)
}

// reduce joins the elements along axes, which are dropped from the shape. Elements are read in the
// order in which they lie wherever the axes follow each other in memory.
func (c *call) reduce(function string, x Tensor, axes []int) Tensor {
	order := x.order()
	if order == nil || !together(x, order, axes) {
		order = nil
		for i := range x.Shape {
			if !slices.Contains(axes, i) {
				order = append(order, i)
			}
		}
		order = append(order, axes...)
		x = c.dense(x.permute(order...)).permute(inverse(order)...)
	}
	flat, kept := [3]int64{1, 1, 1}, []int{}
	at := 0
	for _, i := range order {
		switch {
		case slices.Contains(axes, i):
			at = 1
			flat[1] *= x.Shape[i]
			continue
		case x.Shape[i] != 1 && at == 1:
			at = 2
		}
		if x.Shape[i] != 1 {
			flat[at] *= x.Shape[i]
		}
		kept = append(kept, i)
	}
	shape := make([]int64, len(kept))
	for i, from := range kept {
		shape[i] = x.Shape[from]
	}
	out := newTensor(x.Type, shape)
	joined, _ := out.reshape([]int64{flat[0], flat[2]})
	c.add(Reduce{function}, joined, c.shaped(x.permute(order...), flat[:]...))
	back := make([]int, len(kept)) // the kept dimensions in the graph's order
	for i := range back {
		back[i] = i
	}
	slices.SortFunc(back, func(a, b int) int { return kept[a] - kept[b] })
	return out.permute(back...)
}

// together says that axes follow each other in an order, dimensions of one element apart.
func together(x Tensor, order, axes []int) bool {
	state := 0
	for _, i := range order {
		if x.Shape[i] == 1 {
			continue
		}
		in := slices.Contains(axes, i)
		switch {
		case in && state == 2:
			return false
		case in:
			state = 1
		case state == 1:
			state = 2
		}
	}
	return true
}

func inverse(perm []int) []int {
	back := make([]int, len(perm))
	for i, p := range perm {
		back[p] = i
	}
	return back
}

func lowerArg(c *call) error {
	x, shape := c.in(0), c.shape(0)
	if c.err != nil {
		return c.err
	}
	outer, n, inner := around(x.Shape, axis(c.int("axis", 0), len(x.Shape)))
	out := newTensor(backends.Int64, shape)
	flat, _ := out.reshape([]int64{outer, inner})
	c.add(ArgReduce{Smallest: c.Op == "ArgMin", Last: c.int("select_last_index", 0) != 0}, flat, c.shaped(c.dense(x), outer, n, inner))
	return c.give(out)
}

func lowerSoftmax(c *call) error {
	x, shape := c.in(0), c.shape(0)
	if c.err != nil {
		return c.err
	}
	if c.Opset < 13 {
		at := axis(c.int("axis", 1), len(x.Shape))
		rows := c.dense(c.shaped(x, backends.Elements(x.Shape[:at]), backends.Elements(x.Shape[at:])))
		out := c.add(Softmax{Log: c.Op == "LogSoftmax"}, newTensor(x.Type, rows.Shape), rows)
		return c.give(c.shaped(out, shape...))
	}
	at := axis(c.int("axis", -1), len(x.Shape))
	perm := []int{}
	for i := range x.Shape {
		if i != at {
			perm = append(perm, i)
		}
	}
	perm = append(perm, at)
	moved := x.permute(perm...)
	n := x.Shape[at]
	rows := c.shaped(c.dense(moved), x.Elements()/n, n)
	out := c.add(Softmax{Log: c.Op == "LogSoftmax"}, newTensor(x.Type, rows.Shape), rows)
	return c.give(c.shaped(out, moved.Shape...).permute(inverse(perm)...))
}

func lowerNorm(c *call) error {
	x, shape := c.in(0), c.shape(0)
	if c.wants(1) || c.wants(2) {
		return fmt.Errorf("its mean and deviation are not given out")
	}
	if c.err != nil {
		return c.err
	}
	if !isFloat(x.Type) {
		return fmt.Errorf("it normalises %v", x.Type)
	}
	at := axis(c.int("axis", -1), len(x.Shape))
	n := backends.Elements(x.Shape[at:])
	weight := c.dense(c.in(1).expand(x.Shape[at:]))
	bias := Tensor{}
	if c.given(2) {
		bias = c.shaped(c.dense(c.in(2).expand(x.Shape[at:])), n)
	}
	rows := c.shaped(c.dense(x), x.Elements()/n, n)
	k := Norm{Epsilon: c.number("epsilon", 1e-5), RootMeanSquare: c.Op == "RMSNormalization"}
	out := c.add(k, newTensor(x.Type, rows.Shape), rows, c.shaped(weight, n), bias, Tensor{})
	return c.give(c.shaped(out, shape...))
}
