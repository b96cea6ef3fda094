package onnx

import (
	"slices"
	"strings"
)

// matMul follows numpy: vectors gain a dimension for the product, leading dimensions broadcast.
func matMul(c *call) error { return c.matrixProduct(1) }

// quantizedMatMul is the rule of QLinearMatMul, whose inputs each come with a scale and a zero
// point.
func quantizedMatMul(c *call) error { return c.matrixProduct(3) }

// matrixProduct infers the product of input 0 and input i.
func (c *call) matrixProduct(i int) error {
	a, okA := c.shape(0)
	b, okB := c.shape(i)
	if !okA || !okB {
		return nil
	}
	if len(a) == 0 || len(b) == 0 {
		return c.mismatch()
	}
	isRow, isColumn := len(a) == 1, len(b) == 1
	if isRow {
		a = []Dim{fixed(1), a[0]}
	}
	if isColumn {
		b = []Dim{b[0], fixed(1)}
	}
	m, k := len(a)-2, len(b)-2
	out, ok := broadcast(a[:m], b[:k])
	if !ok || !agree(a[m+1], b[k]) {
		return c.mismatch()
	}
	if !isRow {
		out = append(slices.Clone(out), a[m])
	}
	if !isColumn {
		out = append(slices.Clone(out), b[k+1])
	}
	c.set(0, out)
	return nil
}

func gemm(c *call) error {
	a, okA := c.shape(0)
	b, okB := c.shape(1)
	if !okA || !okB {
		return nil
	}
	if len(a) != 2 || len(b) != 2 {
		return invalid(c.Node, "inputs 0 and 1 need 2 dimensions, they have %d and %d", len(a), len(b))
	}
	if c.int("transA", 0) != 0 {
		a = []Dim{a[1], a[0]}
	}
	if c.int("transB", 0) != 0 {
		b = []Dim{b[1], b[0]}
	}
	if !agree(a[1], b[0]) {
		return c.mismatch()
	}
	out := []Dim{a[0], b[1]}
	if bias, ok := c.shape(2); ok {
		if _, ok := broadcast(out, bias); !ok || len(bias) > 2 {
			return c.mismatch()
		}
	}
	c.set(0, out)
	return nil
}

// einsum reads the equation; "..." stands for leading dimensions that broadcast.
func einsum(c *call) error {
	equation := strings.ReplaceAll(c.string("equation", ""), " ", "")
	left, right, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.Inputs) {
		return invalid(c.Node, "equation %q has %d terms for %d inputs", equation, len(terms), len(c.Inputs))
	}
	e := einsumDims{letters: map[rune]Dim{}, count: map[rune]int{}}
	for i, term := range terms {
		dims, ok := c.shape(i)
		if !ok {
			return nil
		}
		if !e.add(term, dims) {
			return invalid(c.Node, "equation %q does not fit the shape %v of input %d", equation, sizes(dims, -1), i)
		}
	}
	if !explicit {
		right = e.implicit(left)
	}
	out, ok := e.output(right)
	if !ok {
		return invalid(c.Node, "equation %q: the output has a letter that no input has", equation)
	}
	c.set(0, out)
	return nil
}

type einsumDims struct {
	letters map[rune]Dim
	count   map[rune]int
	rest    []Dim // what "..." stands for
}

func (e *einsumDims) add(term string, dims []Dim) bool {
	head, tail, has := strings.Cut(term, "...")
	letters := []rune(head + tail)
	if len(letters) > len(dims) || !has && len(letters) != len(dims) {
		return false
	}
	rest := len(dims) - len(letters)
	at := len([]rune(head))
	merged, ok := broadcast(e.rest, dims[at:at+rest])
	if !ok {
		return false
	}
	e.rest = merged
	dims = slices.Concat(dims[:at], dims[at+rest:])
	for i, l := range letters {
		e.count[l]++
		d := dims[i]
		if have, ok := e.letters[l]; ok {
			if d, ok = broadcastDim(have, d); !ok {
				return false
			}
		}
		e.letters[l] = d
	}
	return true
}

// implicit returns the output term of an equation without one: the letters that come once.
func (e *einsumDims) implicit(left string) string {
	var once []rune
	for l, n := range e.count {
		if n == 1 {
			once = append(once, l)
		}
	}
	slices.Sort(once)
	if strings.Contains(left, "...") {
		return "..." + string(once)
	}
	return string(once)
}

func (e *einsumDims) output(term string) ([]Dim, bool) {
	var out []Dim
	head, tail, has := strings.Cut(term, "...")
	for i, part := range []string{head, tail} {
		if i == 1 && has {
			out = append(out, e.rest...)
		}
		for _, l := range part {
			d, ok := e.letters[l]
			if !ok {
				return nil, false
			}
			out = append(out, d)
		}
	}
	return out, true
}
