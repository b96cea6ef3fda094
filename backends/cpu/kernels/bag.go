package kernels

import "fmt"

// Bags are groups of rows of a table, each of which is added up.
type Bags[I Index] struct {
	Index   []I       // numbers of rows; a negative one counts from the end
	Weights []float32 // what each row is multiplied by; nil: nothing

	// Bags of one Size follow each other in Index, or each has a start and an end in it. Those are
	// taken as a slice of Python takes them: counted from the end if negative, and what is outside
	// of Index is left out.
	Size         int
	Starts, Ends []I

	Mean bool // divide each sum by how many rows it has; that of none is NaN then
}

// Sum sets each row of dst to what a bag adds up to, in the order of Index, so that it depends on
// the bag alone. It returns the first place in Index that is in a bag and names no row of the table, or
// -1; what dst holds then is undefined.
func (b *Bags[I]) Sum(p *Pool, dst []float32, t *Table) (bad int) {
	n := len(dst) / t.width
	if n*t.width != len(dst) {
		panic(fmt.Sprintf("kernels: Bags: %d values for rows of %d", len(dst), t.width))
	}
	b.check(n)
	mean := 1
	if n > 0 {
		mean = len(b.Index)/n + 1
	}
	first := newFirst()
	p.For(n, 1+lookupGrain/((t.width+lookupCost)*mean), func(lo, hi int) {
		if bad := b.sum(dst, t.width, t, lo, hi); bad >= 0 {
			first.report(bad)
		}
	})
	return first.place()
}

// check panics unless there are n bags.
func (b *Bags[I]) check(n int) {
	if b.Weights != nil && len(b.Weights) != len(b.Index) ||
		b.Starts == nil && (b.Size < 0 || n*b.Size != len(b.Index)) ||
		b.Starts != nil && (len(b.Starts) != n || len(b.Ends) != n) {
		panic(fmt.Sprintf("kernels: Bags: %d bags of %d of %d rows, or of %d starts and %d ends, with %d weights",
			n, b.Size, len(b.Index), len(b.Starts), len(b.Ends), len(b.Weights)))
	}
}

// bounds returns where bag i lies in Index.
func (b *Bags[I]) bounds(i int) (lo, hi int) {
	if b.Starts == nil {
		return i * b.Size, (i + 1) * b.Size
	}
	lo, hi = within(int(b.Starts[i]), len(b.Index)), within(int(b.Ends[i]), len(b.Index))
	return lo, max(lo, hi)
}

// within returns a place in n elements, or their end that is next to it.
func within(at, n int) int {
	if at < 0 {
		at += n
	}
	return min(max(at, 0), n)
}

// bagSum is work for assembly, which reads its fields: sums of rows, of which some are asked for before
// they are read.
type bagSum struct {
	values  []float32 // the table, or
	halves  []uint16  // as bfloat16
	offsets []int     // where rows start in the table
	ends    []int     // where bags end in offsets
	weights []float32 // one for each offset, or nil
	dst     []float32
	dstRow  int // distance of rows of dst, in bytes
	cols    int // how many values of each row
	carry   int // the first bag is added to what dst holds if this is not 0
	ahead   int // bytes in offsets from a row to the one to be asked for meanwhile
}

// sum adds up bags lo to hi, with so many values from a row of dst to the next. It hands as many rows to assembly at a time as that may take; a bag that
// is larger is added up in several parts.
func (b *Bags[I]) sum(dst []float32, stride int, t *Table, lo, hi int) (bad int) {
	l := lookups.Get().(*lookup)
	defer lookups.Put(l)
	for at := (place{bag: lo}); at.bag < hi; {
		from := at
		bags, bad := b.fill(l, t, &at, hi)
		if bad >= 0 {
			return bad
		}
		s := bagSum{offsets: l.offsets[:], ends: l.ends[:bags], dstRow: 4 * stride, carry: from.done}
		if b.Weights != nil {
			s.weights = l.weights[:]
		}
		if l.n > 0 {
			s.ahead = l.finish(t)
		}
		t.sum(&s, dst[from.bag*stride:])
		for i := from.bag; b.Mean && i < at.bag; i++ {
			start, end := b.bounds(i)
			row := dst[i*stride:][:t.width]
			Combine(Div, row, row, []float32{float32(end - start)})
		}
	}
	return -1
}

// place is a place in a bag: behind so many of its rows.
type place struct{ bag, done int }

// fill looks up rows from a place on, as many as assembly may be given, and moves the place. It returns
// how many bags they are of, or where an index names no row.
func (b *Bags[I]) fill(l *lookup, t *Table, at *place, hi int) (bags, bad int) {
	room, n := t.room(), 0
	var lo, end int // in Index: what is to be looked up together, as bags mostly follow each other
	l.n = 0
	for at.bag < hi && bags < lookupRows && n < room {
		first, last := b.bounds(at.bag)
		first += at.done
		take := min(last-first, room-n)
		if first != end {
			if bad := b.look(l, t, lo, end); bad >= 0 {
				return 0, bad
			}
			lo = first
		}
		end = first + take
		n += take
		l.ends[bags] = n
		bags++
		if end < last {
			at.done += take
			break
		}
		*at = place{bag: at.bag + 1}
	}
	return bags, b.look(l, t, lo, end)
}

// look looks up rows lo to hi of Index, and returns where one names no row, or -1.
func (b *Bags[I]) look(l *lookup, t *Table, lo, hi int) (bad int) {
	if b.Weights != nil {
		copy(l.weights[l.n:], b.Weights[lo:hi])
	}
	if bad := add(l, t, b.Index[lo:hi]); bad >= 0 {
		return lo + bad
	}
	return -1
}

// sum computes s for all columns of the table.
func (t *Table) sum(s *bagSum, dst []float32) {
	level := CurrentLevel()
	cols := bagCols(level)
	for col := 0; col < t.width; col += cols {
		s.dst, s.cols = dst[col:], min(cols, t.width-col)
		if t.values != nil {
			s.values = t.values[min(col, len(t.values)):]
		} else {
			s.halves = t.halves[min(col, len(t.halves)):]
		}
		s.run(level)
	}
}

func (s *bagSum) portable() {
	at := 0
	for i, end := range s.ends {
		row := s.dst[i*s.dstRow/4:][:s.cols]
		if i > 0 || s.carry == 0 {
			clear(row)
		}
		for ; at < end; at++ {
			s.addPortable(row, at)
		}
	}
}

func (s *bagSum) addPortable(row []float32, at int) {
	w := float32(1)
	if s.weights != nil {
		w = s.weights[at]
	}
	o := s.offsets[at]
	if s.values == nil {
		for j, h := range s.halves[o:][:s.cols] {
			row[j] += float32(w * widened(h))
		}
		return
	}
	for j, v := range s.values[o:][:s.cols] {
		row[j] += float32(w * v)
	}
}
