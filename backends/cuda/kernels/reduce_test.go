package kernels_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

var reducible = []kernels.Type{kernels.F32, kernels.F16, kernels.BF16, kernels.I32, kernels.I64}

var reducedSizes = [][3]int64{{1, 1, 1}, {5, 33, 1}, {3, 100, 7}, {2, 5, 300}, {17, 64, 1}}

// some returns numbers with equals among them, integers if they are of that type.
func (b *bench) some(t kernels.Type, n int64) *array {
	if t > kernels.BF16 {
		return b.whole(t, n, -9, 10)
	}
	return b.empty(t, n).fill(func(int) float64 { return math.Round(b.rand.NormFloat64()*8) / 8 })
}

func TestReduce(t *testing.T) {
	for _, typ := range reducible {
		for _, name := range []string{"Sum", "Mean", "Max", "Min", "Prod"} {
			for _, s := range reducedSizes {
				b := newBench(t)
				x, y := b.some(typ, s[0]*s[1]*s[2]), b.empty(typ, s[0]*s[2])
				if name == "Prod" {
					x.fill(func(int) float64 { return float64(1 + b.rand.IntN(100)/99) })
				}
				r := kernels.Reduce{Function: name, Type: typ, Outer: s[0], Count: s[1], Inner: s[2], X: x.at(), Y: y.at()}
				b.run(r)
				b.check(r, y, precision(typ), func(i int) float64 {
					v := joined(name, along(x, s, i))
					if typ > kernels.BF16 {
						return math.Trunc(v)
					}
					return v
				})
			}
		}
	}
}

// along returns what result i is made of.
func along(x *array, s [3]int64, i int) []float64 {
	var all []float64
	for k := range s[1] {
		all = append(all, x.get(int((int64(i)/s[2]*s[1]+k)*s[2]+int64(i)%s[2])))
	}
	return all
}

func joined(name string, all []float64) float64 {
	v := all[0]
	for _, x := range all[1:] {
		switch name {
		case "Max":
			v = max(v, x)
		case "Min":
			v = min(v, x)
		case "Prod":
			v *= x
		default:
			v += x
		}
	}
	if name == "Mean" {
		v /= float64(len(all))
	}
	return v
}

// first says where the element is that goes before all others: NaN, else the largest.
func first(all []float64, smallest, last bool) int {
	best := 0
	for i, v := range all {
		better := v > all[best]
		if smallest {
			better = v < all[best]
		}
		nan, had := v != v, all[best] != all[best]
		if nan != had {
			better = nan
		}
		if better || last && (v == all[best] || nan && had) {
			best = i
		}
	}
	return best
}

func TestArgReduce(t *testing.T) {
	for _, typ := range reducible {
		for _, s := range reducedSizes {
			for _, smallest := range []bool{false, true} {
				for _, last := range []bool{false, true} {
					b := newBench(t)
					x, y := b.some(typ, s[0]*s[1]*s[2]), b.empty(kernels.I64, s[0]*s[2])
					if typ <= kernels.BF16 && b.rand.IntN(2) == 0 {
						x.set(b.rand.IntN(x.len()), math.NaN())
						x.before = slices.Clone(x.data)
					}
					r := kernels.ArgReduce{Type: typ, Outer: s[0], Count: s[1], Inner: s[2], Smallest: smallest, Last: last, X: x.at(), Y: y.at()}
					b.run(r)
					b.check(r, y, 0, func(i int) float64 { return float64(first(along(x, s, i), smallest, last)) })
				}
			}
		}
	}
}

func TestTopK(t *testing.T) {
	for _, typ := range floats {
		for _, s := range [][3]int64{{1, 1, 1}, {4, 10, 3}, {3, 1000, 17}, {2, 300, 256}} {
			for _, smallest := range []bool{false, true} {
				t.Run(fmt.Sprint(typ, s, smallest), func(t *testing.T) { newBench(t).topK(typ, s, smallest) })
			}
		}
	}
}

// topK holds one case, rows, columns and how many of a row, against a sort.
func (b *bench) topK(typ kernels.Type, s [3]int64, smallest bool) {
	b.Helper()
	rows, columns, k := s[0], s[1], s[2]
	x, v, at := b.some(typ, rows*columns), b.empty(typ, rows*k), b.empty(kernels.I64, rows*k)
	p := kernels.TopK{Type: typ, Rows: rows, Columns: columns, K: k, Smallest: smallest, X: x.at(), Values: v.at(), Indices: at.at()}
	b.run(p)
	for r := range int(rows) {
		order := make([]int, columns)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int {
			d := x.get(r*int(columns)+j) - x.get(r*int(columns)+i)
			if smallest {
				d = -d
			}
			return int(math.Copysign(1, d)) * min(1, int(math.Ceil(math.Abs(d))))
		})
		for n := range int(k) {
			if got := at.get(r*int(k) + n); got != float64(order[n]) || v.get(r*int(k)+n) != x.get(r*int(columns)+order[n]) {
				b.Fatalf("%+v: place %d of row %d is %v, want %v", p, n, r, got, order[n])
			}
		}
	}
}
