package cuda

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cublaslt"
	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// trial compares ways to compute one product, on operands of made-up numbers. No batch is computed as long as it lasts.
type trial struct {
	engine  *engine
	product cublaslt.Product
	result  lower.Tensor
	rows    []uint64 // of the result, that are compared
	mem     []byte   // pinned, for them
	want    []float32
	best    time.Duration
}

// sampled is how many rows of a result are compared at the most.
const sampled = 16

// newTrial gives the operands of o numbers, but for weights, which have theirs.
func (e *engine) newTrial(b binding, o *lower.Op, of product) (*trial, error) {
	for _, t := range o.In {
		if !t.Given() || t.Buffer.Weight != nil {
			continue
		}
		if err := e.scatter(b.at(t), extent(t), t.Type); err != nil {
			return nil, err
		}
	}
	t := &trial{engine: e, product: of.described, result: o.Out[0], rows: rowsOf(b, o.Out[0]), best: math.MaxInt64}
	var err error
	t.mem, err = e.context.HostAlloc(len(t.rows) * t.width())
	return t, err
}

func (t *trial) close() error { return t.engine.context.FreeHost(t.mem) }

// width returns the bytes of a row of the result.
func (t *trial) width() int { return int(t.result.Shape[3]) * t.result.Type.Size() }

// extent returns the bytes between the first element of t and the end of its last.
func extent(t lower.Tensor) int64 {
	n := int64(1)
	for i, size := range t.Shape {
		n += (size - 1) * t.Strides[i]
	}
	return n * int64(t.Type.Size())
}

// rowsOf returns addresses of rows of a result [b, h, m, n], as far from each other as they go.
func rowsOf(b binding, t lower.Tensor) []uint64 {
	all := t.Shape[0] * t.Shape[1] * t.Shape[2]
	n := min(all, sampled)
	rows := make([]uint64, n)
	for i := range rows {
		at := (all - 1) * int64(i) / max(n-1, 1)
		m, h, outer := at%t.Shape[2], at/t.Shape[2]%t.Shape[1], at/t.Shape[2]/t.Shape[1]
		rows[i] = b.at(t) + uint64(outer*t.Strides[0]+h*t.Strides[1]+m*t.Strides[2])*uint64(t.Type.Size())
	}
	return rows
}

// noise is how many bytes of numbers are made up; more repeat them.
const noise = 1 << 20

// scatter fills memory with numbers between -1 and 1 that have all digits which their type has.
func (e *engine) scatter(at uint64, n int64, d backends.Datatype) error {
	r := rand.New(rand.NewPCG(uint64(d), 1))
	var some []byte
	for int64(len(some)) < min(n, noise) {
		bits := r.Uint32()
		switch d {
		case backends.FP32:
			some = binary.LittleEndian.AppendUint32(some, bits&0x807fffff|(123+bits>>23&3)<<23)
		case backends.FP16:
			some = binary.LittleEndian.AppendUint16(some, uint16(bits&0x83ff|(11+bits>>16&3)<<10))
		case backends.BF16:
			some = binary.LittleEndian.AppendUint16(some, uint16(bits&0x807f|(123+bits>>16&3)<<7))
		default:
			some = append(some, byte(bits))
		}
	}
	for done := int64(0); done < n; {
		part := some[:min(int64(len(some)), n-done)]
		if err := e.context.Fill(at+uint64(done), part); err != nil {
			return err
		}
		done += int64(len(part))
	}
	return nil
}

// reference keeps what kernels give and, if they are to be preferred where they are faster, what they take.
func (t *trial) reference(steps []step, p preference) (err error) {
	if t.want, err = t.answer(steps); err != nil || p == librarys {
		return err
	}
	t.best, err = t.time(steps)
	return err
}

// faster reports whether steps give what the reference does, in less time than anything before.
func (t *trial) faster(steps []step) (bool, error) {
	got, err := t.answer(steps)
	if err != nil {
		return false, err
	}
	if err := together(got, t.want, toleranceOf(t.product)); err != nil {
		t.engine.products.say("an algorithm of the library gives something else", err)
		return false, nil
	}
	took, err := t.time(steps)
	if err != nil || took >= t.best {
		return false, err
	}
	t.best = took
	return true, nil
}

// beaten reports whether steps, which were the first to be measured, are faster than the best after all: the clocks of a
// device that has been idle rise while it works.
func (t *trial) beaten(steps []step) (bool, error) {
	took, err := t.time(steps)
	return took < t.best, err
}

// answer returns the sampled rows after steps, which have to write them.
func (t *trial) answer(steps []step) ([]float32, error) {
	e, width := t.engine, t.width()
	poison := bytes.Repeat([]byte{0xff}, width) // no number
	for _, row := range t.rows {
		if err := e.context.Fill(row, poison); err != nil {
			return nil, err
		}
	}
	_, err := e.timed(func() error {
		if err := e.issue(steps, e.streams.compute); err != nil {
			return err
		}
		var all []error
		for i, row := range t.rows {
			all = append(all, e.context.CopyOut(t.mem[i*width:(i+1)*width], row, e.streams.compute))
		}
		return errors.Join(all...)
	})
	mem := slices.Clone(t.mem)
	return lower.NewWeight("", t.result.Type, []int64{int64(len(mem) / t.result.Type.Size())}, func() []byte { return mem }).Floats(), err
}

// repetitions bounds how often a product is computed to be measured; large ones are less often.
const repetitions = 20

// time returns what steps take when they follow each other in a graph, as they do in a batch's.
func (t *trial) time(steps []step) (time.Duration, error) {
	e, p := t.engine, t.product
	n := min(max(2e10/(2*float64(p.Batch)*float64(p.M)*float64(p.N)*float64(p.K)), 3), repetitions)
	g, err := e.capture(slices.Repeat(steps, int(n)))
	if err != nil {
		return 0, err
	}
	launch := func() error { return e.context.Launch(g, e.streams.compute) }
	_, err = e.timed(launch) // the first time a graph is brought to the device
	took, second := e.timed(launch)
	return took, errors.Join(err, second, e.context.DestroyExec(g))
}

// toleranceOf returns how far results may be from a kernel's, as a share of the largest. TF32 in the place of FP32 is farther.
func toleranceOf(p cublaslt.Product) float64 {
	switch {
	case p.TF32:
		return 5e-3
	case p.Type == cublaslt.F16:
		return 1e-2
	case p.Type == cublaslt.BF16:
		return 5e-2
	}
	return 3e-5
}

// together holds results together: a tolerance is a share of the largest that is wanted. What a kernel gives no number for
// says nothing.
func together(got, want []float32, tolerance float64) error {
	largest := float64(0)
	for _, v := range want {
		if w := math.Abs(float64(v)); !math.IsInf(w, 0) && w > largest {
			largest = w
		}
	}
	for i, v := range want {
		finite := !math.IsInf(float64(v), 0) && v == v
		if finite && !(math.Abs(float64(got[i])-float64(v)) <= tolerance*largest) {
			return fmt.Errorf("%v instead of %v, of results up to %v", got[i], v, largest)
		}
	}
	return nil
}
