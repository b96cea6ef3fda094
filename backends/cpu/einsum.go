package cpu

import (
	"slices"
	"strings"

	"github.com/thrumserve/thrum/backends"
)

// buildEinsum builds sums of products over labelled dimensions. Operands are joined from left
// to right; each join is one batched matrix product.
func buildEinsum(n *node) (kernel, error) {
	terms, result, err := parseEquation(n.string("equation", ""))
	if err != nil {
		return nil, err
	}
	if len(terms) != len(n.Inputs) {
		return nil, backends.Errorf(backends.ErrInvalid, "%d terms for %d inputs", len(terms), len(n.Inputs))
	}
	e := equation{terms, result}
	switch n.input(0) {
	case backends.FP32:
		return einsum[float32](e), nil
	case backends.FP64:
		return einsum[float64](e), nil
	case backends.Int32:
		return einsum[int32](e), nil
	case backends.Int64:
		return einsum[int64](e), nil
	}
	return nil, n.unsupported("inputs of %v", n.input(0))
}

// equation is an einsum: the labels of each operand's dimensions and of the result's. An
// ellipsis is the label '.'.
type equation struct {
	terms  []string
	result string
}

func parseEquation(text string) (terms []string, result string, err error) {
	text = strings.ReplaceAll(strings.ReplaceAll(text, " ", ""), "...", ".")
	left, result, explicit := strings.Cut(text, "->")
	terms = strings.Split(left, ",")
	for _, term := range append(terms, result) {
		for _, label := range term {
			if label != '.' && (label < 'A' || label > 'Z') && (label < 'a' || label > 'z') {
				return nil, "", backends.Errorf(backends.ErrInvalid, "label %q in equation %q", label, text)
			}
		}
		if strings.Count(term, ".") > 1 {
			return nil, "", backends.Errorf(backends.ErrInvalid, "two ellipses in a term of equation %q", text)
		}
	}
	if !explicit {
		result = impliedResult(left)
	}
	for i, label := range result {
		if !strings.ContainsRune(left, label) || strings.ContainsRune(result[:i], label) {
			return nil, "", backends.Errorf(backends.ErrInvalid, "label %q of the result of equation %q", label, text)
		}
	}
	return terms, result, nil
}

// impliedResult lists the labels that occur once, in alphabetic order, after an ellipsis.
func impliedResult(left string) string {
	var once []rune
	for _, label := range left {
		if label != ',' && label != '.' && strings.Count(left, string(label)) == 1 {
			once = append(once, label)
		}
	}
	slices.Sort(once)
	if strings.Contains(left, ".") {
		once = slices.Insert(once, 0, '.')
	}
	return string(once)
}

// labelled is an operand with a label for each dimension, none twice.
type labelled struct {
	*tensor
	labels []rune
}

func (l labelled) size(label rune) int {
	if i := slices.Index(l.labels, label); i >= 0 {
		return l.shape[i]
	}
	return 1
}

func einsum[T number](e equation) kernel {
	return func(r *run, in, out []*tensor) error {
		spread := 0 // dimensions of the widest ellipsis
		for i, t := range in {
			open := strings.Count(e.terms[i], ".")
			own := t.rank() - len(e.terms[i]) + open
			if own < 0 || open == 0 && own > 0 {
				return backends.Errorf(backends.ErrInvalid, "term %q for an input of shape %v", e.terms[i], t.shape)
			}
			spread = max(spread, own)
		}
		result := expandLabels(e.result, len(e.result)-1+spread, spread)
		var left labelled
		for i, t := range in {
			right, err := r.label(t, expandLabels(e.terms[i], t.rank(), spread))
			if err != nil {
				return err
			}
			needed := slices.Clone(result)
			for j := i + 1; j < len(in); j++ {
				needed = append(needed, expandLabels(e.terms[j], in[j].rank(), spread)...)
			}
			if i == 0 {
				left, err = sumLabels[T](r, right, needed)
			} else {
				left, err = joinLabels[T](r, left, right, needed)
			}
			if err != nil {
				return err
			}
		}
		return r.arrange(out[0], left, result)
	}
}

// expandLabels returns one label per dimension. The dimensions of an ellipsis are numbered so
// that the last one always has the same.
func expandLabels(term string, rank, spread int) []rune {
	var all []rune
	for _, label := range term {
		if label != '.' {
			all = append(all, label)
			continue
		}
		for i := spread - (rank - len(term) + 1); i < spread; i++ {
			all = append(all, rune(i)) // below any letter
		}
	}
	return all
}

// label makes an operand of t; dimensions of equal label become their diagonal.
func (r *run) label(t *tensor, labels []rune) (labelled, error) {
	l := labelled{t, labels}
	var shape, steps []int
	var unique []rune
	for d, s := range strides(t.shape) {
		i := slices.Index(unique, labels[d])
		if i < 0 {
			unique, shape, steps = append(unique, labels[d]), append(shape, t.shape[d]), append(steps, s)
			continue
		}
		if shape[i] != t.shape[d] {
			return l, backends.Errorf(backends.ErrInvalid, "a diagonal of shape %v", t.shape)
		}
		steps[i] += s
	}
	if len(unique) == len(labels) {
		return l, nil
	}
	l = labelled{r.scratch(), unique}
	return l, r.rearrange(l.tensor, t, shape, steps, 0)
}

// arrange makes out from the dimensions of l in the order of labels; one that l lacks has size 1.
func (r *run) arrange(out *tensor, l labelled, labels []rune) error {
	var shape, perm []int
	for _, label := range labels {
		if i := slices.Index(l.labels, label); i >= 0 {
			perm = append(perm, i)
		}
		shape = append(shape, l.size(label))
	}
	if err := r.transpose(out, l.tensor, perm); err != nil {
		return err
	}
	out.shape = append(out.shape[:0], shape...)
	return nil
}

// sumLabels adds up the dimensions that are not needed.
func sumLabels[T number](r *run, l labelled, needed []rune) (labelled, error) {
	var kept, gone []rune
	for _, label := range l.labels {
		if slices.Contains(needed, label) {
			kept = append(kept, label)
		} else {
			gone = append(gone, label)
		}
	}
	if len(gone) == 0 {
		return l, nil
	}
	turned, sum := r.scratch(), labelled{r.scratch(), kept}
	if err := r.arrange(turned, l, slices.Concat(kept, gone)); err != nil {
		return l, err
	}
	width := product(turned.shape[len(kept):])
	if err := r.makeTensor(sum.tensor, l.dtype, turned.shape[:len(kept)]); err != nil {
		return l, err
	}
	accumulate(0, func(a, v T) T { return a + v }, same[T])(view[T](sum.tensor), view[T](turned), width)
	return sum, nil
}

// joinLabels multiplies two operands and adds up the dimensions that are not needed: one
// matrix product for each index of the dimensions that both have and the result keeps.
func joinLabels[T number](r *run, a, b labelled, needed []rune) (labelled, error) {
	var err error
	if a, err = sumLabels[T](r, a, slices.Concat(needed, b.labels)); err != nil {
		return a, err
	}
	if b, err = sumLabels[T](r, b, slices.Concat(needed, a.labels)); err != nil {
		return a, err
	}
	var batch, rows, cols, inner []rune
	for _, label := range a.labels {
		switch {
		case !slices.Contains(b.labels, label) || b.size(label) == 1 && a.size(label) != 1 && slices.Contains(needed, label):
			rows = append(rows, label)
		case a.size(label) != b.size(label) && a.size(label) != 1 && b.size(label) != 1:
			return a, backends.Errorf(backends.ErrInvalid, "label %q stands for sizes %d and %d", label, a.size(label), b.size(label))
		case a.size(label) == 1 && b.size(label) != 1:
			cols = append(cols, label)
		case slices.Contains(needed, label):
			batch = append(batch, label)
		default:
			inner = append(inner, label)
		}
	}
	for _, label := range b.labels {
		if !slices.Contains(a.labels, label) {
			cols = append(cols, label)
		}
	}
	return multiplyLabels[T](r, a, b, [4][]rune{batch, rows, cols, inner})
}

func multiplyLabels[T number](r *run, a, b labelled, groups [4][]rune) (labelled, error) {
	batch, rows, cols, inner := groups[0], groups[1], groups[2], groups[3]
	x, y := r.scratch(), r.scratch()
	out := labelled{r.scratch(), slices.Concat(batch, rows, cols)}
	if err := r.arrange(x, a, slices.Concat(batch, rows, inner)); err != nil {
		return out, err
	}
	if err := r.arrange(y, b, slices.Concat(batch, inner, cols)); err != nil {
		return out, err
	}
	nb, nr := len(batch), len(rows)
	shape := slices.Concat(x.shape[:nb+nr], y.shape[nb+len(inner):])
	if err := r.makeTensor(out.tensor, a.dtype, shape); err != nil {
		return out, err
	}
	s := matMulSizes{
		m: product(x.shape[nb : nb+nr]), k: product(x.shape[nb+nr:]), n: product(y.shape[nb+len(inner):]),
		batch: []int{product(x.shape[:nb])},
	}
	s.stepsA, s.stepsB = []int{s.m * s.k}, []int{s.k * s.n}
	multiplyMatrices(r, s, view[T](out.tensor), view[T](x), view[T](y))
	return out, nil
}
