package cpu

import (
	"cmp"
	"slices"
)

// cacheLine is the bytes of a cache line, with which every block of an arena starts.
const cacheLine = 64

// wholeLines returns n rounded up to whole cache lines.
func wholeLines(n int) int { return (n + cacheLine - 1) &^ (cacheLine - 1) }

// layout says where the memory of an execution lies. It is made from the record of one, and
// holds for every other that takes and gives back the same memory in the same order.
type layout struct {
	record []int // what has happened: n, a block of n bytes was taken; ^i, block i was given back
	places []int // by block, in the order of taking: where it lies in the arena, or ^where in the answer
	arena  int   // bytes
	answer int   // bytes
}

// newLayout arranges the blocks of a record. Those that leave are to lie in the answer.
func newLayout(record []int, leaves func(block int) bool) *layout {
	l := &layout{record: slices.Clone(record)}
	var inside []block
	var numbers []int // of those inside
	for time, n := range record {
		if n < 0 {
			if at := l.places[^n]; at >= 0 {
				inside[at].to = time
			}
			continue
		}
		if leaves(len(l.places)) {
			l.places = append(l.places, ^l.answer)
			l.answer += wholeLines(n)
			continue
		}
		numbers = append(numbers, len(l.places))
		l.places = append(l.places, len(inside))
		inside = append(inside, block{wholeLines(n), time, len(record)})
	}
	offsets, total := arrange(inside)
	for i, number := range numbers {
		l.places[number] = offsets[i]
	}
	l.arena = total
	return l
}

// block is memory that is needed from one time until another.
type block struct{ size, from, to int }

// arrange finds a place for every block so that no two that are needed at the same time
// overlap, and returns the places and the memory that all take together. The largest are placed
// first, each into the smallest gap that holds it.
func arrange(blocks []block) (places []int, total int) {
	places = make([]int, len(blocks))
	order := make([]int, len(blocks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(blocks[b].size, blocks[a].size) })
	var placed []int // by place
	for _, i := range order {
		places[i] = gapFor(blocks[i], blocks, places, placed)
		total = max(total, places[i]+blocks[i].size)
		at, _ := slices.BinarySearchFunc(placed, places[i], func(k, place int) int { return cmp.Compare(places[k], place) })
		placed = slices.Insert(placed, at, i)
	}
	return places, total
}

// gapFor returns the smallest gap for b among the blocks placed that are needed while it is,
// or the end of them all.
func gapFor(b block, blocks []block, places, placed []int) int {
	best, room, end := -1, 0, 0
	for _, k := range placed {
		o := blocks[k]
		if o.from >= b.to || b.from >= o.to {
			continue
		}
		if gap := places[k] - end; gap >= b.size && (best < 0 || gap < room) {
			best, room = end, gap
		}
		end = max(end, places[k]+o.size)
	}
	if best < 0 {
		return end
	}
	return best
}
