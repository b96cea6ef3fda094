package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

var tableWidths = []int{1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 112, 127, 128, 129, 200, 256, 300}

// eachTable runs the test with tables of float32 and of bfloat16, for which values are rounded already.
func (s source) eachTable(rows, width int, f func(kind string, t *Table, values []float32)) {
	values := s.odd(rows * width)
	f("fp32", NewTable(values, width), values)
	rounded := slices.Clone(values)
	for i, v := range rounded {
		rounded[i] = math.Float32frombits(roundBits(v))
	}
	place := func(n int, fill func([]float32)) []float32 {
		x := guarded(s.t, n)
		fill(x)
		return x
	}
	f("bf16", Memory(place).PackTable(values, width), rounded)
}

// indices returns numbers of rows, the last and the first among them, also counted from the end.
func (s source) indices(n, rows int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(s.IntN(2*rows) - rows)
	}
	if n > 3 {
		copy(all, []int64{int64(rows - 1), int64(-rows), 0, -1})
	}
	return all
}

func narrowed(index []int64) []int32 {
	all := make([]int32, len(index))
	for i, v := range index {
		all[i] = int32(v)
	}
	return all
}

func rowOf(values []float32, width int, index int64) []float32 {
	if index < 0 {
		index += int64(len(values) / width)
	}
	return values[int(index)*width:][:width]
}

func TestTake(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		pool := newTestPool(t, 2)
		s := newSource(t, 1)
		for _, width := range tableWidths {
			s.eachTable(11, width, func(kind string, table *Table, values []float32) {
				for _, n := range []int{0, 1, 2, 13, lookupRows + 5, 3*lookupRows + 1} {
					index := s.indices(n, 11)
					got := guarded(t, n*width)
					if bad := Take(pool, got, table, index); bad >= 0 {
						t.Fatalf("Take refuses index %d, %d", bad, index[bad])
					}
					narrow := guarded(t, n*width)
					if bad := Take(pool, narrow, table, narrowed(index)); bad >= 0 {
						t.Fatalf("Take refuses narrow index %d, %d", bad, index[bad])
					}
					same(t, kind+" by INT32", narrow, got)
					for i, v := range index {
						equal(t, fmt.Sprintf("%s, row %d of width %d", kind, i, width), got[i*width:(i+1)*width], rowOf(values, width, v))
					}
				}
			})
		}
	})
}

// What is no number is copied bit for bit.
func TestTakeCopiesAnything(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		bits := []uint32{0x7f800001, 0xffffffff, 1, 0x80000001, 0x7fc12345, 0xff812345}
		values := guarded(t, len(bits))
		for i, b := range bits {
			values[i] = math.Float32frombits(b)
		}
		got := guarded(t, len(bits))
		if bad := Take(newTestPool(t, 1), got, NewTable(values, 3), []int32{1, 0}); bad >= 0 {
			t.Fatal(bad)
		}
		for i, b := range slices.Concat(bits[3:], bits[:3]) {
			if g := math.Float32bits(got[i]); g != b {
				t.Errorf("element %d is %08x, want %08x", i, g, b)
			}
		}
	})
}

func TestTakeNamesTheFirstIndexOutside(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		pool := newTestPool(t, 4)
		table := NewTable(make([]float32, 40), 4)
		for _, wrong := range []int64{10, -11, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, 1 << 32, 1<<32 + 1} {
			for _, n := range []int{1, 20, 3000} {
				for _, at := range []int{0, n / 2, n - 1} {
					index := make([]int64, n)
					for i := at; i < n; i++ {
						index[i] = wrong
					}
					if bad := Take(pool, make([]float32, 4*n), table, index); bad != at {
						t.Errorf("Take of %d with %d from %d on names %d", n, wrong, at, bad)
					}
					if wrong == int64(int32(wrong)) {
						if bad := Take(pool, make([]float32, 4*n), table, narrowed(index)); bad != at {
							t.Errorf("Take of %d with narrow %d from %d on names %d", n, wrong, at, bad)
						}
					}
				}
			}
		}
	})
}

func TestTakeOfAnEmptyTable(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, table := range []*Table{NewTable(nil, 3), PackTable(nil, 3)} {
			if bad := Take(newTestPool(t, 1), make([]float32, 3), table, []int64{0}); bad != 0 {
				t.Errorf("Take of row 0 of no rows = %d", bad)
			}
			if bad := Take(newTestPool(t, 1), nil, table, []int64{}); bad != -1 {
				t.Errorf("Take of nothing = %d", bad)
			}
		}
	})
}

// plainBag is what a bag adds up to.
func plainBag(values []float32, width int, index []int64, weights []float32) []float64 {
	sum := make([]float64, width)
	for k, v := range index {
		w := 1.0
		if weights != nil {
			w = float64(weights[k])
		}
		for j, x := range rowOf(values, width, v) {
			sum[j] += w * float64(x)
		}
	}
	return sum
}

func TestBags(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		pool := newTestPool(t, 2)
		s := newSource(t, 2)
		for _, width := range tableWidths {
			values := s.values(23 * width)
			for _, size := range []int{0, 1, 2, 26, 100, lookupRows + 1} {
				for _, weighted := range []bool{false, true} {
					const n = 9
					index := s.indices(n*size, 23)
					var weights []float32
					if weighted {
						weights = s.values(n * size)
					}
					b := Bags[int64]{Index: index, Weights: weights, Size: size}
					got := guarded(t, n*width)
					if bad := b.Sum(pool, got, NewTable(values, width)); bad >= 0 {
						t.Fatalf("Sum refuses index %d, %d", bad, index[bad])
					}
					for i := range n {
						part := weights
						if weighted {
							part = weights[i*size : (i+1)*size]
						}
						want := plainBag(values, width, index[i*size:(i+1)*size], part)
						near(t, fmt.Sprintf("bag %d of %d rows of width %d", i, size, width), got[i*width:(i+1)*width], want, 2e-6*float64(size+1))
					}
				}
			}
		}
	})
}

// Bags of one row are that row, at any precision, odd values and all.
func TestBagsOfOneRow(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 3)
		for _, width := range tableWidths {
			s.eachTable(7, width, func(kind string, table *Table, values []float32) {
				index := s.indices(600, 7)
				got := guarded(t, len(index)*width)
				b := Bags[int64]{Index: index, Size: 1}
				if bad := b.Sum(newTestPool(t, 2), got, table); bad >= 0 {
					t.Fatal(bad)
				}
				for i, v := range index {
					want := slices.Clone(rowOf(values, width, v))
					for j := range want {
						want[j] += 0 // of -0, and nothing else, makes something else
					}
					equal(t, fmt.Sprintf("%s, bag %d of width %d", kind, i, width), got[i*width:(i+1)*width], want)
				}
			})
		}
	})
}

// The sum of a bag is the same, bit for bit, with other bags around it, on any number of threads, and
// in AVX2 and AVX-512; without weights in portable Go as well.
func TestABagDependsOnItselfAlone(t *testing.T) {
	s := newSource(t, 4)
	const width, rows = 77, 50
	sizes := []int{0, 1, 3, 26, 700, 0, 2, 1500, 64}
	s.eachTable(rows, width, func(kind string, table *Table, _ []float32) {
		for _, weighted := range []bool{false, true} {
			var want [][]float32
			var starts, ends, index []int64
			for _, n := range sizes {
				starts = append(starts, int64(len(index)))
				index = append(index, s.indices(n, rows)...)
				ends = append(ends, int64(len(index)))
			}
			all := Bags[int64]{Index: index, Starts: starts, Ends: ends}
			if weighted {
				all.Weights = s.values(len(index))
			}
			eachLevel(t, func(t *testing.T) {
				if weighted && CurrentLevel() == Portable {
					return // it rounds products
				}
				for _, threads := range []int{1, 3} {
					pool := newTestPool(t, threads)
					together := guarded(t, len(sizes)*width)
					if bad := all.Sum(pool, together, table); bad >= 0 {
						t.Fatal(bad)
					}
					for i := range sizes {
						one := all
						one.Starts, one.Ends = starts[i:i+1], ends[i:i+1]
						alone := guarded(t, width)
						if bad := one.Sum(pool, alone, table); bad >= 0 {
							t.Fatal(bad)
						}
						if i == len(want) {
							want = append(want, slices.Clone(alone))
						}
						equal(t, fmt.Sprintf("%s, bag %d among others", kind, i), together[i*width:][:width], want[i])
						equal(t, fmt.Sprintf("%s, bag %d alone", kind, i), alone, want[i])
					}
				}
			})
		}
	})
}

func TestBoundsOfBags(t *testing.T) {
	b := Bags[int32]{Index: make([]int32, 10)}
	for _, test := range []struct{ start, end, lo, hi int }{
		{0, 10, 0, 10}, {3, 3, 3, 3}, {5, 2, 5, 5}, {-2, 10, 8, 10}, {0, -1, 0, 9}, {-99, 99, 0, 10}, {12, 15, 10, 10}, {math.MinInt32, math.MaxInt32, 0, 10},
	} {
		b.Starts, b.Ends = []int32{int32(test.start)}, []int32{int32(test.end)}
		if lo, hi := b.bounds(0); lo != test.lo || hi != test.hi {
			t.Errorf("bounds of %d to %d = %d, %d, want %d, %d", test.start, test.end, lo, hi, test.lo, test.hi)
		}
	}
}

func TestMeansOfBags(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		values := []float32{1, 2, 3, 10, 20, 30}
		b := Bags[int32]{Index: []int32{0, 1, 0, -1}, Starts: []int32{0, 1, 2}, Ends: []int32{2, 1, 3}, Mean: true}
		got := make([]float32, 9)
		if bad := b.Sum(newTestPool(t, 1), got, NewTable(values, 3)); bad >= 0 {
			t.Fatal(bad)
		}
		nan := float32(math.NaN())
		equal(t, "means", got, []float32{5.5, 11, 16.5, nan, nan, nan, 1, 2, 3})
	})
}

func TestBagsNameTheFirstIndexOutside(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		pool := newTestPool(t, 4)
		table := NewTable(make([]float32, 40), 4)
		for _, at := range []int{0, 700, 2599} {
			b := Bags[int64]{Index: make([]int64, 2600), Size: 26}
			for i := at; i < len(b.Index); i++ {
				b.Index[i] = 10
			}
			if bad := b.Sum(pool, make([]float32, 400), table); bad != at {
				t.Errorf("Sum with wrong ones from %d on names %d", at, bad)
			}
		}
		// What is in no bag is not looked at.
		b := Bags[int64]{Index: []int64{99, 1, 99}, Starts: []int64{1}, Ends: []int64{2}}
		if bad := b.Sum(pool, make([]float32, 4), table); bad != -1 {
			t.Errorf("Sum looks at index %d", bad)
		}
	})
}

func TestLookupsAllocateNothingInLoops(t *testing.T) {
	pool := newTestPool(t, 1)
	table := NewTable(make([]float32, 4000), 40)
	index := make([]int64, 2600)
	sums, rows := make([]float32, 4000), make([]float32, 2600*40)
	b := Bags[int64]{Index: index, Size: 26}
	if n := testing.AllocsPerRun(10, func() {
		b.Sum(pool, sums, table)
		Take(pool, rows, table, index)
	}); n > 4 {
		t.Errorf("%v allocations", n)
	}
}
