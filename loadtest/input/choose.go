package input

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// facts is what an expression may say of a request.
type facts struct {
	Name     string  `expr:"name"`
	Index    int     `expr:"index"` // from 0, as they were read
	Rows     int     `expr:"rows"`
	Bytes    int     `expr:"bytes"`    // of its inputs
	Quantile float64 `expr:"quantile"` // the share of the requests that are smaller in bytes, and half of those that are equal
	Seconds  float64 `expr:"seconds"`  // after the first one; of a captured one

	// Dim returns a dimension of an input, from 0; it is 0 if there is none.
	Dim func(input string, dimension int) int `expr:"dim"`
}

// Select keeps the requests for which the expression is true, such as
//
//	bytes >= 1000 && rows == 1
//	dim("tokens", 1) > 128
//	quantile >= 0.8
//
// name, index, rows, bytes, quantile, seconds and dim are known of each; quantile is that among all
// before the selection. That none is left is an error.
func (s *Set) Select(expression string) error {
	program, err := expr.Compile(expression, expr.Env(facts{}), expr.AsBool())
	if err != nil {
		return fmt.Errorf("selection: %w", err)
	}
	var kept []Case
	for i, f := range s.facts() {
		ok, err := expr.Run(program, f)
		if err != nil {
			return fmt.Errorf("selection of %s: %w", s.Cases[i].Name, err)
		}
		if ok.(bool) {
			kept = append(kept, s.Cases[i])
		}
	}
	if len(kept) == 0 {
		return fmt.Errorf("selection %q keeps none of %v", expression, s)
	}
	s.Cases = kept
	return nil
}

// Weigh returns which request is the n-th to be sent, where each comes as often as the expression
// says in proportion to the others. For long requests to come more often it is, for example,
//
//	bytes                       in proportion to the size
//	bytes ** 2
//	quantile >= 0.8 ? 2 : 1     the top fifth twice as often
//
// The order depends on the seed alone.
func (s *Set) Weigh(expression string, seed uint64) (func(n uint64) int, error) {
	program, err := expr.Compile(expression, expr.Env(facts{}), expr.AsFloat64())
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	upTo := make([]float64, len(s.Cases)) // the sum of the weights up to each case
	sum := 0.0
	for i, f := range s.facts() {
		w, err := weight(program, f)
		if err != nil {
			return nil, fmt.Errorf("weight of %s: %w", s.Cases[i].Name, err)
		}
		sum += w
		upTo[i] = sum
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return nil, fmt.Errorf("weights %q sum to %v: at least one must be above 0", expression, sum)
	}
	return func(n uint64) int {
		at := uniform(seed, n) * sum
		return sort.Search(len(upTo)-1, func(i int) bool { return at < upTo[i] })
	}, nil
}

func weight(program *vm.Program, f facts) (float64, error) {
	v, err := expr.Run(program, f)
	if err != nil {
		return 0, err
	}
	w := v.(float64)
	if !(w >= 0) || math.IsInf(w, 0) {
		return 0, errors.New("it must be a number of 0 or more, it is " + fmt.Sprint(w))
	}
	return w, nil
}

// uniform returns the n-th number of a sequence in [0, 1), by the finaliser of SplitMix64.
func uniform(seed, n uint64) float64 {
	x := seed + (n+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return float64((x^x>>31)>>11) / (1 << 53)
}

func (s *Set) facts() []facts {
	sizes := make([]int, len(s.Cases))
	for i, c := range s.Cases {
		sizes[i] = c.Bytes()
	}
	slices.Sort(sizes)
	all := make([]facts, len(s.Cases))
	for i, c := range s.Cases {
		smaller, _ := slices.BinarySearch(sizes, c.Bytes())
		greater, _ := slices.BinarySearchFunc(sizes, c.Bytes(), func(have, want int) int { return cmp.Or(cmp.Compare(have, want), -1) })
		all[i] = facts{
			Name: c.Name, Index: i, Rows: c.Request.Rows(), Bytes: c.Bytes(), Seconds: c.Arrived.Seconds(),
			Quantile: float64(smaller+greater) / 2 / float64(len(sizes)),
			Dim:      c.dim,
		}
	}
	return all
}

func (c Case) dim(input string, dimension int) int {
	for _, t := range c.Inputs {
		if t.Name == input && dimension >= 0 && dimension < len(t.Shape) {
			return int(t.Shape[dimension])
		}
	}
	return 0
}
