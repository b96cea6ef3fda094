package kernels

import (
	"fmt"
	"math"
)

var inf = float32(math.Inf(1))

// MaxRowColumns is how many columns the row of RowTrees may have.
const MaxRowColumns = 64

// Row is a row with room to spare.
type Row [MaxRowColumns]float32

// maxRowDepth is how many levels have room in one word.
const maxRowDepth = 6

// rowGroup is how many trees are followed at a time.
const rowGroup = 8

// RowTrees are decision trees of one depth over the values themselves, laid out for one row at a time.
type RowTrees struct {
	limits   []float32
	columns  []uint8
	toYes    []uint64 // by tree and slot: NaN goes left
	depth    int
	sixteens int // slots of a tree, in sixteens
}

// NewRowTrees returns trees of 1 to 6 levels without branches yet.
func NewRowTrees(trees, depth int) *RowTrees {
	if depth < 1 || depth > maxRowDepth {
		panic(fmt.Sprintf("kernels: trees of %d levels: 1 to %d can be", depth, maxRowDepth))
	}
	t := &RowTrees{depth: depth, sixteens: max(1, 1<<depth/16)}
	room := (trees + rowGroup - 1) / rowGroup * rowGroup
	t.limits = make([]float32, room*t.sixteens*16)
	t.columns = make([]uint8, room*t.sixteens*16)
	t.toYes = make([]uint64, room)
	return t
}

// Trees returns how many trees there is room for, a multiple of 8.
func (t *RowTrees) Trees() int { return len(t.toYes) }

// Set puts a branch into a slot of a tree: a row goes left if its value in column is at most limit,
// or if it is NaN and missing is set, and right otherwise.
func (t *RowTrees) Set(tree, slot, column int, limit float32, missing bool) {
	if column < 0 || column >= MaxRowColumns || slot < 1 || slot >= 1<<t.depth {
		panic(fmt.Sprintf("kernels: column %d in slot %d", column, slot))
	}
	at := tree*t.sixteens*16 + slot
	t.limits[at], t.columns[at] = limit, uint8(column)
	if missing {
		t.toYes[tree] |= 1 << slot
	}
}

// Exits sets exits to where row leaves the trees beginning with tree from, a multiple of 8, as are
// their number; missing says whether the row may have NaN. Exits are counted from 1<<depth on.
func (t *RowTrees) Exits(exits []uint8, row *Row, from int, missing bool) {
	if from < 0 || from%rowGroup != 0 || len(exits)%rowGroup != 0 || from+len(exits) > len(t.toYes) {
		panic(fmt.Sprintf("kernels: trees %d to %d of %d", from, from+len(exits), len(t.toYes)))
	}
	t.exits(exits, row, from, missing)
}

func (t *RowTrees) exitsPortable(exits []uint8, row *Row, from int) {
	for i := range exits {
		base, slot := (from+i)*t.sixteens*16, 1
		for range t.depth {
			x := row[t.columns[base+slot]]
			right := 1
			if x <= t.limits[base+slot] || x != x && t.toYes[from+i]>>slot&1 != 0 {
				right = 0
			}
			slot = 2*slot + right
		}
		exits[i] = uint8(slot)
	}
}
