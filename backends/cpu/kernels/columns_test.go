package kernels

import (
	"math"
	"testing"
)

// Columns are what each part's bags add up to by themselves, bit for bit; what is beside them stays.
func TestSumColumns(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 5)
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for _, rows := range []int{1, 2, 26, 300} {
				const gap = 3
				stride := gap
				var parts []Part
				var alone [][]float32
				for i, width := range []int{16, 1, 64, 33, 128, 200} {
					table := NewTable(s.values(50*width), width)
					if i%2 == 1 {
						table = PackTable(s.values(50*width), width)
					}
					sums := make([]float32, rows*width)
					var bad int
					if i == 2 {
						l := &Lookup[int32]{Bags[int32]{Index: narrowed(s.indices(rows*i, 50)), Size: i, Mean: true}, table}
						bad = l.Sum(pool, sums, table)
						parts = append(parts, Part{l, stride})
					} else {
						l := &Lookup[int64]{Bags[int64]{Index: s.indices(rows*i, 50), Weights: s.values(rows * i), Size: i}, table}
						bad = l.Sum(pool, sums, table)
						parts = append(parts, Part{l, stride})
					}
					if bad >= 0 {
						t.Fatal(bad)
					}
					alone = append(alone, sums)
					stride += width + gap
				}
				dst := guarded(t, rows*stride)
				fill(dst, 7)
				if part, bad := SumColumns(pool, dst, rows, parts); part != -1 || bad != -1 {
					t.Fatalf("SumColumns = %d, %d", part, bad)
				}
				want := make([]float32, rows*stride)
				fill(want, 7)
				for i, p := range parts {
					for r := range rows {
						copy(want[r*stride+p.First:], alone[i][r*p.Width():(r+1)*p.Width()])
					}
				}
				same(t, "columns", dst, want)
			}
		}
	})
}

func TestSumColumnsNamesWhatIsWrong(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		const rows = 100
		table := NewTable(make([]float32, 40), 4)
		for _, at := range []int{0, 99} {
			index := make([]int64, rows)
			index[at] = math.MaxInt64
			parts := []Part{
				{&Lookup[int64]{Bags[int64]{Index: make([]int64, rows), Size: 1}, table}, 0},
				{&Lookup[int64]{Bags[int64]{Index: index, Size: 1}, table}, 4},
			}
			if part, bad := SumColumns(newTestPool(t, 2), make([]float32, rows*8), rows, parts); part != 1 || bad != at {
				t.Errorf("SumColumns = %d, %d, want 1, %d", part, bad, at)
			}
		}
		if part, bad := SumColumns(newTestPool(t, 1), nil, 0, nil); part != -1 || bad != -1 {
			t.Errorf("SumColumns of nothing = %d, %d", part, bad)
		}
	})
}
