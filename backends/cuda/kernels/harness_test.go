package kernels_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/kernels/emulated"
)

// bench is a device and memory for the operands of kernels.
type bench struct {
	testing.TB
	rand   *rand.Rand
	runs   func(l kernels.Launch, memory [][]byte) error
	arrays []*array
	// straightened arrays begin at multiples of 16 bytes, all of them.
	straightened bool
	// first runs the first block of a launch alone, which needs no operands of others.
	first bool
}

// device is opened by the first test that needs it.
var device struct {
	once      sync.Once
	processor *emulated.Processor
}

func newBench(t testing.TB) *bench {
	t.Helper()
	if d := shipped(t); d != nil {
		return newBenchOn(t, rand.Uint64(), d.Run)
	}
	device.once.Do(func() { device.processor = emulated.Open(t) })
	if device.processor == nil {
		t.Skip("kernels cannot be emulated here")
	}
	return newBenchOn(t, rand.Uint64(), func(l kernels.Launch, _ [][]byte) error { return device.processor.Run(l) })
}

// newBenchOn returns a bench that draws from that seed, of what runs launches: they may access the memory that it is given.
func newBenchOn(t testing.TB, seed uint64, runs func(l kernels.Launch, memory [][]byte) error) *bench {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the seed was %d", seed)
		}
	})
	return &bench{TB: t, rand: rand.New(rand.NewPCG(seed, 0)), runs: runs}
}

// array is memory that ends where no page follows, before that at most 31 bytes of padding. What is
// before it and the padding hold a pattern that nobody may change.
type array struct {
	kernels.Type
	memory, data []byte
	before       []byte // nil, or what data must still be
}

const pattern = 0xa5

// empty returns an array of n elements, full of bits that are no numbers. One in four begins at no
// multiple of 16 bytes.
func (b *bench) empty(t kernels.Type, n int64) *array {
	b.Helper()
	padding := -int(n*t.Size()) & 15
	if b.rand.IntN(4) == 0 && !b.straightened {
		padding += int(t.Size()) * (1 + b.rand.IntN(int(16/t.Size())-1))
	}
	return b.place(t, n, padding)
}

// straight returns an array as empty does, at a multiple of 16 bytes.
func (b *bench) straight(t kernels.Type, n int64) *array {
	b.Helper()
	return b.place(t, n, -int(n*t.Size())&15)
}

func (b *bench) place(t kernels.Type, n int64, padding int) *array {
	b.Helper()
	size := int(n * t.Size())
	const page = 4096
	pages := (size + padding + page - 1) / page
	memory, err := syscall.Mmap(-1, 0, (pages+2)*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { syscall.Munmap(memory) })
	for i := range memory {
		memory[i] = pattern
	}
	if err := syscall.Mprotect(memory[(pages+1)*page:], syscall.PROT_NONE); err != nil {
		b.Fatal(err)
	}
	end := (pages+1)*page - padding
	a := &array{Type: t, memory: memory[:(pages+1)*page], data: memory[end-size : end : end]}
	for i := range a.data {
		a.data[i] = 0xff
	}
	b.arrays = append(b.arrays, a)
	return a
}

func (a *array) at() uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(a.data)))) }

func (a *array) len() int { return len(a.data) / int(a.Size()) }

// get returns element i.
func (a *array) get(i int) float64 {
	p := a.data[i*int(a.Size()):]
	switch a.Type {
	case kernels.F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(p)))
	case kernels.F16:
		return fromHalf(binary.LittleEndian.Uint16(p))
	case kernels.BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(p)) << 16))
	case kernels.I8:
		return float64(int8(p[0]))
	case kernels.I32:
		return float64(int32(binary.LittleEndian.Uint32(p)))
	case kernels.I64:
		return float64(int64(binary.LittleEndian.Uint64(p)))
	}
	return float64(p[0])
}

func (a *array) set(i int, v float64) {
	p := a.data[i*int(a.Size()):]
	switch a.Type {
	case kernels.F32:
		binary.LittleEndian.PutUint32(p, math.Float32bits(float32(v)))
	case kernels.F16:
		binary.LittleEndian.PutUint16(p, toHalf(v))
	case kernels.BF16:
		binary.LittleEndian.PutUint16(p, toBrain(v))
	case kernels.I32:
		binary.LittleEndian.PutUint32(p, uint32(int32(v)))
	case kernels.I64:
		binary.LittleEndian.PutUint64(p, uint64(int64(v)))
	default:
		p[0] = byte(int64(v))
	}
}

// fill sets every element by f.
func (a *array) fill(f func(i int) float64) *array {
	for i := range a.len() {
		a.set(i, f(i))
	}
	a.before = bytes.Clone(a.data)
	return a
}

// normal returns an array of n numbers with that deviation.
func (b *bench) normal(t kernels.Type, n int64, deviation float64) *array {
	b.Helper()
	return b.empty(t, n).fill(func(int) float64 { return b.rand.NormFloat64() * deviation })
}

// whole returns an array of n integers from low on to below high.
func (b *bench) whole(t kernels.Type, n int64, low, high int) *array {
	b.Helper()
	return b.empty(t, n).fill(func(int) float64 { return float64(low + b.rand.IntN(high-low)) })
}

type kernel interface {
	Launch() (kernels.Launch, error)
}

type product interface {
	PartsBytes() int64
	Launches() ([]kernels.Launch, error)
}

// run runs k and checks that no memory has changed that is nobody's, and no operand.
func (b *bench) run(k kernel) {
	b.Helper()
	l, err := k.Launch()
	b.launch(k, []kernels.Launch{l}, err)
}

// multiply is run for a product, which has got parts for its shares.
func (b *bench) multiply(k product) {
	b.Helper()
	all, err := k.Launches()
	b.launch(k, all, err)
}

// parts returns memory for the shares of a product, nil where there are none.
func (b *bench) parts(k product) *array {
	b.Helper()
	if n := k.PartsBytes(); n > 0 {
		return b.straight(kernels.F32, n/4)
	}
	return nil
}

func (b *bench) launch(k any, all []kernels.Launch, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%+v: %v", k, err)
	}
	var memory [][]byte
	for _, a := range b.arrays {
		memory = append(memory, a.data)
	}
	for _, l := range all {
		if len(l.Args) > kernels.MaxArgs {
			b.Fatalf("%s has %d arguments, at most %d", l.Name, len(l.Args), kernels.MaxArgs)
		}
		if b.first {
			l.Grid = [3]uint32{1, 1, 1}
		}
		if err := b.runs(l, memory); err != nil {
			b.Fatalf("%+v: %v", k, err)
		}
		b.look(l)
	}
}

// look finds what a launch has written that it may not.
func (b *bench) look(l kernels.Launch) {
	b.Helper()
	for _, a := range b.arrays {
		first := int(uintptr(unsafe.Pointer(unsafe.SliceData(a.data))) - uintptr(unsafe.Pointer(unsafe.SliceData(a.memory))))
		for i, v := range a.memory {
			if (i < first || i >= first+len(a.data)) && v != pattern {
				b.Fatalf("%s: byte %d of an array of %d is written", l.Name, i-first, len(a.data))
			}
		}
		if a.before != nil && !bytes.Equal(a.before, a.data) {
			b.Fatalf("%s: an operand is written", l.Name)
		}
	}
}

// precision is how far a result of that type may be from the exact one, for numbers of about 1 that are
// rounded once or twice.
func precision(t kernels.Type) float64 {
	switch t {
	case kernels.F32:
		return 2e-5
	case kernels.F16:
		return 2e-3
	case kernels.BF16:
		return 1.6e-2
	}
	return 0
}

// check compares an array with what it should hold.
func (b *bench) check(what any, got *array, within float64, want func(i int) float64) {
	b.Helper()
	for i := range got.len() {
		g, w := got.get(i), want(i)
		if g == w || g != g && w != w && !got.poisoned(i) {
			continue
		}
		if d := math.Abs(g - w); !(d <= within*max(1, math.Abs(w))) || got.poisoned(i) {
			b.Fatalf("%+v: element %d is %v, want %v (%v)", what, i, g, w, got.Type)
		}
	}
}

// poisoned says that nobody has written an element of floating point.
func (a *array) poisoned(i int) bool {
	if a.Type > kernels.BF16 {
		return false
	}
	size := int(a.Size())
	for _, v := range a.data[i*size : (i+1)*size] {
		if v != 0xff {
			return false
		}
	}
	return true
}

func toBrain(v float64) uint16 {
	u := math.Float32bits(float32(v))
	if v != v {
		return 0x7fc0
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

func fromHalf(h uint16) float64 {
	sign, exponent, mantissa := float64(1), int(h>>10&31), float64(h&1023)
	if h>>15 != 0 {
		sign = -1
	}
	switch exponent {
	case 0:
		return sign * math.Ldexp(mantissa, -24)
	case 31:
		if mantissa != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+mantissa, exponent-25)
}

func toHalf(v float64) uint16 {
	sign := uint16(0)
	if math.Signbit(v) {
		sign, v = 1<<15, -v
	}
	switch {
	case v != v:
		return sign | 0x7e00
	case v >= 65520:
		return sign | 0x7c00
	case v < math.Ldexp(1, -14):
		return sign | uint16(math.RoundToEven(math.Ldexp(v, 24)))
	}
	fraction, exponent := math.Frexp(v)
	return sign | uint16(int(math.RoundToEven(math.Ldexp(fraction, 11)))-1024+(exponent+14)<<10)
}

var floats = []kernels.Type{kernels.F32, kernels.F16, kernels.BF16}

// or returns the address of an array, or 0 for none.
func or(a *array) uint64 {
	if a == nil {
		return 0
	}
	return a.at()
}
