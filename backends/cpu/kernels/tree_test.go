package kernels

import (
	"math"
	"slices"
	"testing"
	"unsafe"
)

// guardedAs returns a T at the end of guarded memory.
func guardedAs[T any](t testing.TB) *T {
	var v T
	return (*T)(unsafe.Pointer(unsafe.SliceData(guarded(t, int(unsafe.Sizeof(v))/4))))
}

// branches returns the branches of a tree over some columns; gaps leave slots without a branch.
func (s source) branches(depth, columns int, gaps bool) []Branch {
	var list []Branch
	for slot := 1; slot < 1<<depth; slot++ {
		if !gaps || s.IntN(8) > 0 {
			list = append(list, Branch{Column: uint16(s.IntN(columns)), Slot: uint8(slot), Limit: int8(s.IntN(256) - 128)})
		}
	}
	return list
}

// codes returns guarded columns of codes.
func (s source) codes(columns int) []int8 {
	words := guarded(s.t, columns*BlockRows/4)
	codes := unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(words))), columns*BlockRows)
	for i := range codes {
		codes[i] = int8(s.IntN(256) - 128)
	}
	return codes
}

func TestExitsOfEveryDepthAgainstPortable(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for depth := 1; depth <= MaxDepth; depth++ {
			s := newSource(t, uint64(depth))
			tree := NewTree(depth, s.branches(depth, 1+s.IntN(30), false))
			codes := s.codes(tree.columns)
			got, masks := guardedAs[Exits](t), guardedAs[Masks](t)
			for _, rows := range []int{1, 2, 31, 33, 63, 64, 65, 127, 128, 300, 448, 449, 511, 512} {
				tree.Exits(got, codes, rows, masks)
				var want Exits
				tree.exitsPortable(&want, codes, rows)
				if !slices.Equal(got[:rows], want[:rows]) {
					t.Fatalf("depth %d, %d rows: exits %v, want %v", depth, rows, got[:rows], want[:rows])
				}
			}
		}
	})
}

// Without a branch either way will do, but the others must be right.
func TestExitsAroundGaps(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for seed := range uint64(20) {
			s := newSource(t, seed)
			depth := 1 + s.IntN(MaxDepth)
			tree := NewTree(depth, s.branches(depth, 5, true))
			codes := s.codes(5)
			exits, masks := guardedAs[Exits](t), guardedAs[Masks](t)
			tree.Exits(exits, codes, BlockRows, masks)
			for row, exit := range exits {
				for _, b := range tree.branches {
					level := bits(b.Slot)
					path := (1<<depth + int(exit)) >> (depth - level)
					if path>>1 != int(b.Slot) {
						continue
					}
					if right := codes[int(b.Column)*BlockRows+row] > b.Limit; right != (path&1 == 1) {
						t.Fatalf("seed %d, row %d: exit %d passes slot %d the wrong way", seed, row, exit, b.Slot)
					}
				}
			}
		}
	})
}

// bits returns how many bits n has.
func bits(n uint8) (count int) {
	for ; n > 0; n >>= 1 {
		count++
	}
	return count
}

func TestAddAtAgainstPortable(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		for _, size := range []int{64, 256} {
			table := s.values(size)
			for _, rows := range []int{0, 1, 15, 16, 17, 500, BlockRows} {
				exits, sums := guardedAs[Exits](t), guardedAs[[BlockRows]float32](t)
				for i := range exits {
					exits[i], sums[i] = uint8(s.IntN(size)), s.Float32()
				}
				want := *sums
				addAtPortable(&want, table, exits, rows)
				AddAt(sums, table, exits, rows)
				same(t, describe([]int{size, rows}), sums[:rows], want[:rows])
			}
		}
	})
}

func TestCodesAgainstPortable(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		ranks, codes := guardedAs[[BlockRows]int32](t), guardedAs[[BlockRows]int8](t)
		for _, base := range []int32{0, 127, 127 + 254, -5} {
			for i := range ranks {
				ranks[i] = int32(s.IntN(1000) - 100)
			}
			ranks[3], ranks[4] = 1<<30, -1
			var want [BlockRows]int8
			narrowPortable(&want, ranks, base)
			Codes(codes[:], ranks, base)
			if *codes != want {
				t.Fatalf("base %d of %v: codes %v, want %v", base, *ranks, *codes, want)
			}
		}
	})
}

func TestRanksAgainstPortable(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, limits := range []int{0, 1, 2, 14, 15, 16, 31, 100, 255, 256, 4000} {
			s := newSource(t, uint64(limits))
			list := s.values(limits)
			if limits > 3 {
				list[0], list[1], list[2] = float32(math.Inf(1)), float32(math.Inf(-1)), 0
			}
			slices.Sort(list)
			r := NewRanking(list)
			r.limits = s.copyOf(r.limits)
			for _, n := range []int{1, 5, 15, 16, 17, 33, 500, BlockRows} {
				for _, stride := range []int{1, 3, 28} {
					x := s.odd((n-1)*stride + 1)
					for i := range x {
						if limits > 0 && s.IntN(3) == 0 {
							x[i] = list[s.IntN(limits)]
						}
					}
					got := guardedAs[[BlockRows]int32](t)
					r.Ranks(got, n, x, stride, -1)
					for i, rank := range got[:n] {
						v := x[i*stride]
						want, _ := slices.BinarySearch(list, v)
						if v != v {
							want = -1
						}
						if int(rank) != want {
							t.Fatalf("%d limits, %d values %d apart: rank of %v is %d, want %d", limits, n, stride, v, rank, want)
						}
					}
				}
			}
		}
	})
}

func TestRowExitsAgainstPortable(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for depth := 1; depth <= maxRowDepth; depth++ {
			s := newSource(t, uint64(depth))
			trees := NewRowTrees(1+s.IntN(1200), depth)
			trees.limits = guarded(t, len(trees.limits))
			trees.columns = unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(guarded(t, len(trees.columns)/4)))), len(trees.columns))
			clear(trees.columns)
			for tree := range trees.Trees() {
				for slot := 1; slot < 1<<depth; slot++ {
					limit := float32(s.IntN(7) - 3)
					if s.IntN(9) == 0 {
						limit = float32(math.NaN())
					}
					trees.Set(tree, slot, s.IntN(MaxRowColumns), limit, s.IntN(2) == 0)
				}
			}
			for _, missing := range []bool{false, true} {
				row := guardedAs[Row](t)
				for i := range row {
					row[i] = float32(s.IntN(9) - 4)
					if missing && s.IntN(4) == 0 {
						row[i] = float32(math.NaN())
					}
				}
				from := s.IntN(trees.Trees()/rowGroup) * rowGroup
				got, want := make([]uint8, trees.Trees()-from), make([]uint8, trees.Trees()-from)
				trees.Exits(got, row, from, missing)
				trees.exitsPortable(want, row, from)
				if !slices.Equal(got, want) {
					t.Fatalf("depth %d, missing %v: exits %v, want %v", depth, missing, got, want)
				}
			}
		}
	})
}

func TestTreesThatDoNotFitPanic(t *testing.T) {
	tree := NewTree(2, []Branch{{Column: 1, Slot: 3}})
	rows := NewRowTrees(8, 3)
	var exits Exits
	var masks Masks
	for name, f := range map[string]func(){
		"no levels":             func() { NewTree(0, nil) },
		"nine levels":           func() { NewTree(9, nil) },
		"slot 0":                func() { NewTree(2, []Branch{{Slot: 0}}) },
		"slot below the levels": func() { NewTree(2, []Branch{{Slot: 4}}) },
		"columns too few":       func() { tree.Exits(&exits, make([]int8, BlockRows), 8, &masks) },
		"too many rows":         func() { tree.Exits(&exits, make([]int8, 2*BlockRows), BlockRows+1, &masks) },
		"odd table":             func() { AddAt(new([BlockRows]float32), make([]float32, 65), &exits, 8) },
		"short column":          func() { Codes(make([]int8, 8), new([BlockRows]int32), 0) },
		"values too few":        func() { NewRanking(nil).Ranks(new([BlockRows]int32), 3, make([]float32, 4), 2, 0) },
		"seven levels":          func() { NewRowTrees(8, 7) },
		"column beyond a row":   func() { rows.Set(0, 1, MaxRowColumns, 0, false) },
		"slot beyond a row's":   func() { rows.Set(0, 8, 0, 0, false) },
		"trees beyond the last": func() { rows.Exits(make([]uint8, 16), new(Row), 0, false) },
		"not whole groups":      func() { rows.Exits(make([]uint8, 4), new(Row), 0, false) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
