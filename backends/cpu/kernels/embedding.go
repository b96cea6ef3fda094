package kernels

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Table is a matrix whose rows are looked up by number, such as those of an embedding. It is never
// written to and may be shared.
type Table struct {
	rows, width int
	stride      int       // of rows, in elements
	values      []float32 // of a table of float32
	halves      []uint16  // of a table of bfloat16
}

// NewTable returns a table over rows of width values, which it does not copy.
func NewTable(values []float32, width int) *Table {
	return &Table{rows: tableRows(len(values), width), width: width, stride: width, values: values}
}

// PackTable returns a table of the values rounded to bfloat16, which takes half the memory.
func PackTable(values []float32, width int) *Table { return Memory(nil).PackTable(values, width) }

// PackTable is the function PackTable with a place for the result.
func (m Memory) PackTable(values []float32, width int) *Table {
	const fill = 8 // so many values AVX2 widens at a time
	t := &Table{rows: tableRows(len(values), width), width: width, stride: (width + fill - 1) / fill * fill}
	data := m.make(t.rows*t.stride/2, func(dst []float32) {
		rows := halvesIn(dst)
		for i := range t.rows {
			for j, v := range values[i*width : (i+1)*width] {
				rows[i*t.stride+j] = uint16(roundBits(v) >> 16)
			}
		}
	})
	t.halves = halvesIn(data)
	return t
}

func tableRows(values, width int) int {
	if width < 1 || values%width != 0 {
		panic(fmt.Sprintf("kernels: a table of %d values in rows of %d", values, width))
	}
	return values / width
}

// halvesIn returns the bfloat16 that lie in x, two in each.
func halvesIn(x []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// widened returns the value of a bfloat16.
func widened(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// Rows returns the number of rows.
func (t *Table) Rows() int { return t.rows }

// Width returns the number of values of a row.
func (t *Table) Width() int { return t.width }

// Index is a type that numbers of rows come in.
type Index interface{ int32 | int64 }

const (
	// lookupRows is how many rows assembly is given at a time, and lookupBytes how many bytes of rows
	// unless one is larger: what it may read in some microseconds.
	lookupRows  = 2048
	lookupBytes = 256 << 10

	// lookupGrain is how many values, each row counted as lookupCost more, are worth handing to
	// another thread.
	lookupGrain = 16 << 10
	lookupCost  = 64

	// lookahead is how many rows later assembly may ask for, and lookaheadBytes how many bytes it asks
	// for before it reads them: there has to be room in the first-level cache.
	lookahead      = 48
	lookaheadBytes = 12 << 10
)

// lookup is rows of a table to be looked up: their offsets, and the last one some times more for those
// who ask for rows that come later.
type lookup struct {
	offsets [lookupRows + lookahead]int
	n       int

	ends    [lookupRows]int     // of bags, in offsets
	weights [lookupRows]float32 // one for each offset
}

var lookups = sync.Pool{New: func() any { return new(lookup) }}

// room returns how many rows of t a lookup is to have at most.
func (t *Table) room() int { return min(lookupRows, max(lookupBytes/t.rowBytes(), 1)) }

func (t *Table) rowBytes() int {
	if t.values != nil {
		return 4 * t.stride
	}
	return 2 * t.stride
}

// add adds rows by their numbers, and returns which of them is not in the table, or -1.
func add[I Index](l *lookup, t *Table, index []I) (bad int) {
	to := l.offsets[l.n:]
	for i := locate(to, index, t); i < len(index); i++ {
		row := int(index[i])
		row += t.rows & (row >> 63)
		if uint(row) >= uint(t.rows) {
			return i
		}
		to[i] = row * t.stride
	}
	l.n += len(index)
	return -1
}

// finish fills what comes after the offsets, and returns how many bytes later in them are the rows
// to ask for.
func (l *lookup) finish(t *Table) (ahead int) {
	rows := min(max(lookaheadBytes/t.rowBytes(), 1), lookahead)
	fillInts(l.offsets[l.n:l.n+rows], l.offsets[l.n-1])
	return 8 * rows
}

func fillInts(x []int, v int) {
	for i := range x {
		x[i] = v
	}
}

// Take copies the rows of t with those numbers to dst, one after the other. A negative number counts
// from the end. It returns the first place in index that names no row of the table, or -1; what dst
// holds then is undefined. The values of a table that is not rounded are copied as they are, be they
// numbers or not.
func Take[I Index](p *Pool, dst []float32, t *Table, index []I) (bad int) {
	if len(dst) != len(index)*t.width {
		panic(fmt.Sprintf("kernels: Take: %d values for %d rows of %d", len(dst), len(index), t.width))
	}
	grain := 1 + lookupGrain/(t.width+lookupCost)
	if p.Threads() == 1 || len(index) <= grain {
		return takePart(dst, t, index, 0, len(index))
	}
	first := newFirst()
	p.For(len(index), grain, func(lo, hi int) {
		if bad := takePart(dst, t, index, lo, hi); bad >= 0 {
			first.report(bad)
		}
	})
	return first.place()
}

// takePart is Take for the numbers from lo up to hi.
func takePart[I Index](dst []float32, t *Table, index []I, lo, hi int) (bad int) {
	l, rows := lookups.Get().(*lookup), t.room()
	defer lookups.Put(l)
	for ; lo < hi; lo += rows {
		l.n = 0
		if bad := add(l, t, index[lo:min(hi, lo+rows)]); bad >= 0 {
			return lo + bad
		}
		t.take(dst[lo*t.width:], l)
	}
	return -1
}

// first is the least of some places. It is for several goroutines.
type first struct{ at atomic.Int64 }

func newFirst() *first {
	f := new(first)
	f.at.Store(math.MaxInt64)
	return f
}

func (f *first) report(place int) {
	for {
		have := f.at.Load()
		if int64(place) >= have || f.at.CompareAndSwap(have, int64(place)) {
			return
		}
	}
}

// place returns the least place reported, or -1.
func (f *first) place() int {
	if at := f.at.Load(); at != math.MaxInt64 {
		return int(at)
	}
	return -1
}

// takePortable copies the rows to dst.
func (t *Table) takePortable(dst []float32, l *lookup) {
	for i, o := range l.offsets[:l.n] {
		row := dst[i*t.width:][:t.width]
		if t.values != nil {
			copy(row, t.values[o:])
			continue
		}
		for j, h := range t.halves[o:][:t.width] {
			row[j] = widened(h)
		}
	}
}
