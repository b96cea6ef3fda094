package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// What a device has.
const (
	maxShared  = kernels.PlainShared // bytes of shared memory that are not dynamic
	maxThreads = 1024
	maxGrid    = 65535
)

// maxSteps bounds the instructions that the warps of a block execute, so that what does not end is an error.
const maxSteps = 1 << 22

// Device launches kernels. One goroutine may use it at a time.
type Device struct {
	module *Module
	rand   *rand.Rand
	warps  []*warp
	holds  *entry // whose constants are in the registers of warps
}

// Open returns a device that has loaded a module. The seed is of what it draws.
func Open(m *Module, seed uint64) *Device {
	return &Device{module: m, rand: rand.New(rand.NewPCG(seed, 1))}
}

// Load has the device hold another module.
func (d *Device) Load(m *Module) { d.module = m }

// block is threads that share memory.
type block struct {
	entry     *entry
	number    [3]uint32
	threads   uint32 // of blocks before that
	memory    []operand
	arguments []byte
	shared    []region
	epoch     uint32 // barriers so far, of all blocks
	begin     uint32 // the epoch that the block begins with
	steps     int
}

// Run executes a launch to its end. Memory is what it may access: addresses among its arguments are of
// this process.
func (d *Device) Run(l kernels.Launch, memory [][]byte) (err error) {
	e, err := d.module.entry(l.Name)
	if err == nil {
		err = e.check(l)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", l.Name, err)
	}
	defer func() {
		switch f := recover().(type) {
		case nil:
		case fault:
			err = f.error
		default:
			panic(f)
		}
	}()
	b := &block{entry: e, epoch: 1, shared: e.regions(l.Shared)}
	for _, a := range l.Args {
		b.arguments = binary.LittleEndian.AppendUint64(b.arguments, a)
	}
	for _, m := range memory {
		b.memory = append(b.memory, operand{variable: variable{space: globalSpace, address: address(m), size: len(m), data: m}})
	}
	for _, v := range d.module.symbols {
		b.memory = append(b.memory, operand{variable: v})
	}
	warps := d.take(b, l)
	for _, i := range d.rand.Perm(int(l.Grid[0] * l.Grid[1] * l.Grid[2])) {
		n := uint32(i)
		b.number = [3]uint32{n % l.Grid[0], n / l.Grid[0] % l.Grid[1], n / l.Grid[0] / l.Grid[1]}
		b.threads = n * l.Block[0] * l.Block[1] * l.Block[2]
		d.block(b, warps, l)
	}
	return nil
}

// check holds a launch against what the kernel declares.
func (e *entry) check(l kernels.Launch) error {
	last := e.parameters[len(e.parameters)-1]
	if size := int(last.address) + last.size; 8*len(l.Args) != size {
		return fmt.Errorf("%d bytes of arguments: its %d parameters take %d", 8*len(l.Args), len(e.parameters), size)
	}
	threads := uint64(l.Block[0]) * uint64(l.Block[1]) * uint64(l.Block[2])
	if threads < 1 || threads > min(e.threads, maxThreads) || l.Block[2] > 64 {
		return fmt.Errorf("a block of %v threads: at most %d", l.Block, e.threads)
	}
	if l.Grid[0] < 1 || l.Grid[1] < 1 || l.Grid[2] < 1 || l.Grid[0] > 1<<31-1 || l.Grid[1] > maxGrid || l.Grid[2] > maxGrid {
		return fmt.Errorf("a grid of %v blocks", l.Grid)
	}
	static := 0
	for _, v := range e.shared {
		static += v.size
	}
	if shared := static + int(l.Shared); static > maxShared || shared > kernels.MostShared {
		return fmt.Errorf("%d bytes of shared memory: at most %d, and %d that are not dynamic", shared, kernels.MostShared, maxShared)
	}
	return nil
}

// regions returns shared memory, where nobody has been yet.
func (e *entry) regions(dynamic uint32) []region {
	var all []region
	add := func(v variable) {
		v.data = make([]byte, v.size)
		all = append(all, region{v, make([]stamp, v.size), make([]stamp, v.size)})
	}
	for _, v := range e.shared {
		add(v)
	}
	if dynamic > 0 {
		add(variable{space: sharedSpace, address: dynamicBase, size: int(dynamic)})
	}
	return all
}

// take returns the warps of a block, with what is the same in all blocks in their registers.
func (d *Device) take(b *block, l kernels.Launch) []*warp {
	threads := int(l.Block[0] * l.Block[1] * l.Block[2])
	n := (threads + 31) / 32
	for len(d.warps) < n {
		d.warps = append(d.warps, &warp{number: len(d.warps)})
		d.holds = nil
	}
	for _, w := range d.warps {
		if lack := b.entry.registers - len(w.rows); lack > 0 {
			w.rows = append(w.rows, make([]row, lack)...)
			w.known = make([]uint32, len(w.rows))
		}
		if d.holds != b.entry {
			for _, c := range b.entry.constants {
				w.fill(c.register, c.value)
			}
		}
		w.block = b
	}
	d.holds = b.entry
	for _, w := range d.warps[:n] {
		for lane := range 32 {
			t := uint32(w.number*32 + lane)
			for i, v := range [3]uint32{t % l.Block[0], t / l.Block[0] % l.Block[1], t / l.Block[0] / l.Block[1]} {
				if r, ok := b.entry.special[specials[i]]; ok {
					w.rows[r][lane] = uint64(v)
				}
			}
			w.local[lane] = make([]byte, b.entry.local)
		}
		w.dimensions(3, l.Block)
		w.dimensions(9, l.Grid)
	}
	return d.warps[:n]
}

func (w *warp) fill(register int, v uint64) {
	for lane := range w.rows[register] {
		w.rows[register][lane] = v
	}
}

// dimensions sets three special registers.
func (w *warp) dimensions(first int, v [3]uint32) {
	for i := range v {
		if r, ok := w.block.entry.special[specials[first+i]]; ok {
			w.fill(r, uint64(v[i]))
		}
	}
}

// block runs one block.
func (d *Device) block(b *block, warps []*warp, l kernels.Launch) {
	b.epoch++
	b.begin, b.steps = b.epoch, maxSteps
	for i := range b.shared {
		poison(b.shared[i].data)
	}
	threads := int(l.Block[0] * l.Block[1] * l.Block[2])
	for _, w := range warps {
		w.live = uint32(1<<min(32, threads-w.number*32) - 1)
		w.parked, w.pc, w.fence = 0, [32]int{}, 0
		clear(w.known)
		for _, c := range b.entry.constants {
			w.known[c.register] = math.MaxUint32
		}
		for _, r := range b.entry.special {
			w.known[r] = math.MaxUint32
		}
		w.dimensions(6, b.number)
		for lane := range 32 {
			poison(w.local[lane])
			w.copies[lane] = copies{waiting: w.copies[lane].waiting[:0]}
		}
	}
	for ended := 0; ended < len(warps); {
		ended = 0
		for _, i := range d.rand.Perm(len(warps)) {
			w := warps[i]
			w.run()
			if w.live == 0 {
				ended++
			}
		}
		if ended > 0 && ended < len(warps) {
			panic(fault{fmt.Errorf("%s: block %v: %d warps have ended and others wait at a barrier", b.entry.name, b.number, ended)})
		}
		b.epoch++
	}
}

// poison fills memory with bits that are no number.
func poison(data []byte) {
	for i := range data {
		data[i] = 0xff
	}
}
