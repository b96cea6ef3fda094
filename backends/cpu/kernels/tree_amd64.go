//go:build !purego

package kernels

import "unsafe"

func (t *Tree) exits(exits *Exits, codes []int8, rows int, masks *Masks) {
	vectors := (rows + 63) / 64
	list, n := unsafe.SliceData(t.branches), len(t.branches)
	switch level := CurrentLevel(); {
	case level >= AVX512:
		branchesAVX512(masks, list, n, unsafe.SliceData(codes), vectors)
		exitsAVX512(exits, masks, t.depth)
	case level >= AVX2:
		branchesAVX2(masks, list, n, unsafe.SliceData(codes), vectors)
		exitsAVX2(exits, masks, t.depth)
	default:
		t.exitsPortable(exits, codes, rows)
	}
}

func addAt(sums *[BlockRows]float32, table []float32, exits *Exits, rows int) {
	n := (rows + 15) / 16 * 16
	switch level := CurrentLevel(); {
	case level >= AVX512 && len(table) == 64:
		addAt64AVX512(&sums[0], unsafe.SliceData(table), exits, n)
	case level >= AVX512:
		addAt256AVX512(&sums[0], unsafe.SliceData(table), exits, n)
	case level >= AVX2:
		addAt256AVX2(&sums[0], unsafe.SliceData(table), exits, n)
	default:
		addAtPortable(sums, table, exits, rows)
	}
}

func narrow(codes *[BlockRows]int8, ranks *[BlockRows]int32, base int32) {
	switch level := CurrentLevel(); {
	case level >= AVX512:
		narrowAVX512(&codes[0], &ranks[0], BlockRows, int(base))
	case level >= AVX2:
		narrowAVX2(&codes[0], &ranks[0], BlockRows, int(base))
	default:
		narrowPortable(codes, ranks, base)
	}
}

func (r *Ranking) ranks(ranks *[BlockRows]int32, n int, x []float32, stride int, missing int32) {
	// Assembly holds offsets of sixteen values in 32 bits.
	if CurrentLevel() < AVX512 || stride > 1<<24 {
		r.ranksPortable(ranks, n, x, stride, missing)
		return
	}
	ranksAVX512(&ranks[0], unsafe.SliceData(x), n, stride, unsafe.SliceData(r.limits), r.steps, int(missing))
}

// rowGroups is how many groups of trees assembly is given at a time.
const rowGroups = 64

func (t *RowTrees) exits(exits []uint8, row *Row, from int, missing bool) {
	if CurrentLevel() < AVX512 {
		t.exitsPortable(exits, row, from)
		return
	}
	var masks [rowGroup]uint64
	for len(exits) > 0 {
		n := min(len(exits), rowGroups*rowGroup)
		if missing {
			rowExitsMissingAVX512(unsafe.SliceData(exits), &row[0], t, &masks[0], from, n/rowGroup)
		} else {
			rowExitsAVX512(unsafe.SliceData(exits), &row[0], t, &masks[0], from, n/rowGroup)
		}
		exits, from = exits[n:], from+n
	}
}
