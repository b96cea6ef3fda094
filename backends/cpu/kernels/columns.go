package kernels

import "fmt"

// Lookup is bags of rows of a table of their own.
type Lookup[I Index] struct {
	Bags[I]
	Table *Table
}

// Columns are bags that are added up into some columns of a matrix: a Lookup.
type Columns interface {
	// Width returns the number of columns.
	Width() int

	check(bags int)
	ask(lo, hi, bytes int)
	into(dst []float32, stride, lo, hi int) (bad int)
}

// Width returns the number of columns, those of the table.
func (l *Lookup[I]) Width() int { return l.Table.width }

func (l *Lookup[I]) into(dst []float32, stride, lo, hi int) (bad int) {
	return l.sum(dst, stride, l.Table, lo, hi)
}

// ask asks for the first rows of bags lo to hi, as many as so many bytes hold. What is wrong with them
// is left to be found by those who read them.
func (l *Lookup[I]) ask(lo, hi, bytes int) {
	first, _ := l.bounds(lo)
	_, last := l.bounds(hi - 1)
	n := min(last-first, bytes/l.Table.rowBytes(), l.Table.room())
	if n <= 0 {
		return
	}
	rows := lookups.Get().(*lookup)
	defer lookups.Put(rows)
	if rows.n = 0; add(rows, l.Table, l.Index[first:first+n]) < 0 {
		l.Table.ask(rows)
	}
}

// Part is where Columns stand in the rows of a matrix.
type Part struct {
	Columns
	First int // column
}

// SumColumns sets the columns of each part in dst, which has so many rows, to what bags add up to. The
// tables of all parts are asked for their first rows before one is read: a single row of a matrix waits
// for memory once and not for each table. It returns a part with an index that names no row and the
// index's place, or -1 twice; what the columns hold then is undefined.
func SumColumns(p *Pool, dst []float32, rows int, parts []Part) (part, bad int) {
	if rows == 0 || len(parts) == 0 {
		return -1, -1
	}
	stride := len(dst) / rows
	cost := 0
	for _, c := range parts {
		c.check(rows)
		cost += c.Width() + lookupCost
		if rows*stride != len(dst) || c.First < 0 || c.First+c.Width() > stride {
			panic(fmt.Sprintf("kernels: SumColumns: %d values for %d rows, %d columns from %d on", len(dst), rows, c.Width(), c.First))
		}
	}
	const places = 1 << 40 // more than a part has
	first := newFirst()
	p.For(rows, 1+lookupGrain/cost, func(lo, hi int) {
		for _, c := range parts {
			c.ask(lo, hi, max(2*lookaheadBytes/len(parts), 1<<10))
		}
		for i, c := range parts {
			if bad := c.into(dst[c.First:], stride, lo, hi); bad >= 0 {
				first.report(i*places + bad)
			}
		}
	})
	if at := first.place(); at >= 0 {
		return at / places, at % places
	}
	return -1, -1
}
