package cpu

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestArrange(t *testing.T) {
	for _, test := range []struct {
		situation string
		blocks    []block
		places    []int
		total     int
	}{
		{"nothing", nil, []int{}, 0},
		{"one after the other", []block{{64, 0, 1}, {64, 1, 2}, {64, 2, 3}}, []int{0, 0, 0}, 64},
		{"all at once", []block{{64, 0, 3}, {128, 0, 3}, {64, 1, 2}}, []int{128, 0, 192}, 256},
		{"a chain of steps", []block{{64, 0, 3}, {64, 2, 5}, {64, 4, 7}}, []int{0, 64, 0}, 128},
		{"the smallest gap that fits", []block{{256, 0, 9}, {128, 0, 1}, {192, 0, 9}, {64, 0, 1}, {256, 0, 9}, {64, 2, 3}}, []int{0, 704, 512, 832, 256, 704}, 896},
		{"blocks of no bytes", []block{{0, 0, 2}, {64, 0, 2}, {0, 0, 2}}, []int{0, 0, 0}, 64},
	} {
		places, total := arrange(test.blocks)
		if !slices.Equal(places, test.places) || total != test.total {
			t.Errorf("%s: arrange = %v, %d, want %v, %d", test.situation, places, total, test.places, test.total)
		}
	}
}

// leastFor returns what the blocks need at the time at which they need most.
func leastFor(blocks []block) int {
	least := 0
	for _, at := range blocks {
		sum := 0
		for _, b := range blocks {
			if b.from <= at.from && at.from < b.to {
				sum += b.size
			}
		}
		least = max(least, sum)
	}
	return least
}

// checkArranged reports blocks that overlap.
func checkArranged(t *testing.T, blocks []block) (total int) {
	t.Helper()
	places, total := arrange(blocks)
	for i, a := range blocks {
		if places[i] < 0 || places[i]+a.size > total {
			t.Fatalf("block %d of %v lies at %d, outside of %d bytes", i, blocks, places[i], total)
		}
		for j, b := range blocks[:i] {
			apart := places[i] >= places[j]+b.size || places[j] >= places[i]+a.size
			if a.from < b.to && b.from < a.to && !apart {
				t.Fatalf("blocks %d and %d of %v overlap at %d and %d", i, j, blocks, places[i], places[j])
			}
		}
	}
	if least := leastFor(blocks); total < least {
		t.Fatalf("arrange of %v takes %d, less than the %d that are needed at once", blocks, total, least)
	}
	return total
}

func TestArrangeTakesLittleMoreThanIsNeededAtOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all, least := 0, 0
	for range 200 {
		blocks := make([]block, 1+r.IntN(100))
		for i := range blocks {
			from := r.IntN(100)
			blocks[i] = block{64 * (1 + r.IntN(1<<r.IntN(8))), from, from + 1 + r.IntN(1<<r.IntN(6))}
		}
		total, need := checkArranged(t, blocks), leastFor(blocks)
		if total > 2*need {
			t.Errorf("arrange takes %d for %d that are needed at once", total, need)
		}
		all, least = all+total, least+need
	}
	if 100*all > 115*least {
		t.Errorf("200 times arrange takes %d for %d that are needed at once, want at most 15%% more", all, least)
	}
}

func FuzzArrange(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 3, 2, 0, 3, 1, 1, 1})
	f.Add([]byte{4, 0, 9, 2, 0, 1, 3, 0, 9, 1, 0, 1, 4, 0, 9, 1, 2, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var blocks []block
		for ; len(data) >= 3 && len(blocks) < 300; data = data[3:] {
			blocks = append(blocks, block{64 * int(data[0]), int(data[1]), int(data[1]) + 1 + int(data[2])})
		}
		checkArranged(t, blocks)
	})
}

func TestLayoutOfARecord(t *testing.T) {
	// Blocks 0 and 1 are taken, 0 is given back, 2 is taken and leaves, 3 takes the place of 0.
	l := newLayout([]int{100, 60, ^0, 200, 90, ^1, ^3}, func(block int) bool { return block == 2 })
	if !slices.Equal(l.places, []int{0, 128, ^0, 0}) || l.arena != 192 || l.answer != 256 {
		t.Errorf("newLayout = places %v, %d in the arena, %d in the answer, want [0 128 -1 0], 192, 256", l.places, l.arena, l.answer)
	}
}
