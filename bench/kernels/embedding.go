package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/cpu/kernels/peak"
	"github.com/thrumserve/thrum/bench/turns"
)

// bagShape is how many rows of what width are added up.
type bagShape struct{ rows, width int }

var bagShapes = []bagShape{{26, 64}, {100, 64}, {26, 128}, {100, 128}}

// shareOfReads is what has to be reached of a loop that reads random rows and does nothing with them.
const shareOfReads = 0.85

// embeddings compares sums of bags of random rows of a large table with reads of random rows, both with
// huge pages, and with the sums of bags where the system gives no huge pages.
func (l *lab) embeddings(context.Context) (all []turns.Finding, err error) {
	huge, err := newTable(l.tableBytes(), unix.MADV_HUGEPAGE)
	if err != nil {
		return nil, err
	}
	var fast [2]time.Duration // of the first shape, on one thread and on two
	for threads := 1; threads <= 2; threads++ {
		for i, s := range bagShapes {
			f, own, err := l.bags(huge, s, threads)
			if err != nil {
				return all, errors.Join(err, huge.free())
			}
			all = append(all, f)
			if i == 0 {
				fast[threads-1] = own
			}
		}
	}
	if err := huge.free(); err != nil {
		return all, err
	}
	small, err := newTable(l.tableBytes(), unix.MADV_NOHUGEPAGE)
	if err != nil {
		return all, err
	}
	for threads := 1; threads <= 2; threads++ {
		f, own, err := l.bags(small, bagShapes[0], threads)
		if err != nil {
			return all, errors.Join(err, small.free())
		}
		f.Target, f.Verdict = "", turns.None
		f.What += ", without huge pages"
		f.Measured += fmt.Sprintf("; with huge pages %.2f times as fast", float64(own)/float64(fast[threads-1]))
		all = append(all, f)
	}
	return all, small.free()
}

func (l *lab) tableBytes() int {
	if l.short {
		return min(l.table, 1) << 30
	}
	return l.table << 30
}

// memoryTable is memory for tables, whole rows of it.
type memoryTable struct{ bytes []byte }

// newTable takes memory with pages as advised and writes something into every line of it.
func newTable(size, advice int) (memoryTable, error) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return memoryTable{}, fmt.Errorf("a table of %d bytes: %w", size, err)
	}
	t := memoryTable{memory}
	if err := unix.Madvise(memory, advice); err != nil {
		return t, errors.Join(err, t.free())
	}
	for i, values := 0, t.values(); i < len(values); i += 16 {
		values[i+i/16%16] = float32(i%1013) - 506
	}
	return t, nil
}

func (t memoryTable) values() []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(t.bytes))), len(t.bytes)/4)
}

func (t memoryTable) free() error { return unix.Munmap(t.bytes) }

// distances are how many rows later the calibration asks for; the best is taken.
var distances = []int{0, 2, 4, 8, 12, 16, 24, 32, 48}

// bagWork is work on random rows of a table: batches of bags, one after the other.
type bagWork struct {
	bagShape
	pool  *kernels.Pool
	table *kernels.Table
	index []int64
	reads *peak.Rows // the same ones
	batch int        // rows
	sums  []float32
	at    int
	asked int // rows that the calibration asks for ahead
}

// bags measures one shape, and returns what adding up one batch took.
func (l *lab) bags(t memoryTable, s bagShape, threads int) (f turns.Finding, own time.Duration, err error) {
	pool := kernels.NewPool(threads)
	defer pool.Close()
	w := newBagWork(t, s, pool)
	if err := w.check(t.values()); err != nil {
		return f, 0, err
	}
	reads := w.calibrate()
	r, err := l.Compare(turns.Own(w.own), reads)
	if err != nil {
		return f, 0, err
	}
	rate := func(d time.Duration) float64 { return 1e3 * float64(w.batch) / float64(d) }
	return turns.Finding{
		What: fmt.Sprintf("embedding bags of %d rows of %d float32 from %d GiB beside reads of random rows, threads: %d", s.rows, s.width, len(t.bytes)>>30, threads),
		Measured: fmt.Sprintf("%v of it; %.1f beside %.1f million rows/s, %d asked for ahead",
			r.Clock, rate(r.Own), rate(r.Other), w.asked),
		Target: fmt.Sprintf("≥ %.2f", shareOfReads), Verdict: turns.AtLeast(r.Clock, shareOfReads),
	}, r.Own, nil
}

func newBagWork(t memoryTable, s bagShape, pool *kernels.Pool) *bagWork {
	const bags, fresh = 1024, 1 << 22 // so many rows until the first come again
	w := &bagWork{bagShape: s, pool: pool, table: kernels.NewTable(t.values(), s.width), batch: bags * s.rows}
	random := rand.New(rand.NewPCG(1, uint64(s.rows*s.width)))
	w.index = make([]int64, max(fresh/w.batch, 1)*w.batch)
	offsets := make([]int, len(w.index)+slices.Max(distances))
	for i := range w.index {
		w.index[i] = random.Int64N(int64(w.table.Rows()))
		offsets[i] = int(w.index[i]) * 4 * s.width
	}
	w.reads = peak.NewRows(slices.Contains(kernels.Levels(), kernels.AVX512), t.bytes, offsets, 4*s.width)
	w.sums = make([]float32, bags*s.width)
	return w
}

// next returns where the next batch starts.
func (w *bagWork) next() int {
	at := w.at
	if w.at += w.batch; w.at+w.batch > len(w.index) {
		w.at = 0
	}
	return at
}

// own adds up the next batch.
func (w *bagWork) own() error {
	at := w.next()
	b := kernels.Bags[int64]{Index: w.index[at : at+w.batch], Size: w.rows}
	if bad := b.Sum(w.pool, w.sums, w.table); bad >= 0 {
		return fmt.Errorf("index %d is refused", b.Index[bad])
	}
	return nil
}

// calibrate returns the side that reads the next batch, asking for rows as long before they are read
// as is best.
func (w *bagWork) calibrate() turns.Side {
	read := func(ahead int) turns.Side {
		return turns.Own(func() error {
			at := w.next()
			w.pool.For(w.batch, w.batch/16, func(lo, hi int) { w.reads.Read(at+lo, at+hi, ahead) })
			return nil
		})
	}
	best := math.Inf(1)
	for range 3 {
		for _, ahead := range distances {
			if t, _ := read(ahead)(10 * time.Millisecond); float64(t.Clock)/float64(t.Runs) < best {
				best, w.asked = float64(t.Clock)/float64(t.Runs), ahead
			}
		}
	}
	return read(w.asked)
}

// check compares sums with those of a plain loop.
func (w *bagWork) check(values []float32) error {
	if err := w.own(); err != nil {
		return err
	}
	for i, got := range w.sums {
		bag, col := i/w.width, i%w.width
		var want float32
		for _, row := range w.index[bag*w.rows:][:w.rows] {
			want += values[int(row)*w.width+col]
		}
		if got != want {
			return fmt.Errorf("value %d of bag %d is %v, want %v", col, bag, got, want)
		}
	}
	return nil
}
