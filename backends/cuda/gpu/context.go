//go:build cuda

package gpu

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/driver"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// context is a device as an engine uses it. Handles of package cu are those of the driver, in a
// struct of their own.
type context struct {
	*driver.Driver
	machine *Machine
	device  int
	pooled  bool // there are pools of memory
}

func (c *context) In(f func() error) error { return c.machine.In(c.device, f) }

// Alloc takes memory from the pool of the device, if it has one: cuMemFree waits for all that the device does.
func (c *context) Alloc(n int64, s driver.Stream) (uint64, error) {
	if !c.pooled {
		at, err := cu.MemAlloc(n)
		return uint64(at), c.machine.failed("cuMemAlloc", err)
	}
	at, err := c.AllocAsync(uint64(n), s)
	if err != nil {
		return 0, err
	}
	return at, c.settle(s)
}

func (c *context) Free(at uint64, s driver.Stream) error {
	if !c.pooled {
		return c.machine.failed("cuMemFree", cu.MemFree(cu.DevicePtr(at)))
	}
	return errors.Join(c.FreeAsync(at, s), c.settle(s))
}

// settle returns when a stream has come to its end.
func (c *context) settle(s driver.Stream) error {
	return c.machine.failed("cuStreamSynchronize", stream(s).Synchronize())
}

// Fill waits for the null stream: the driver may return from a copy of memory that is not pinned
// before it has reached the device.
func (c *context) Fill(at uint64, mem []byte) error {
	if err := cu.MemcpyHtoD(cu.DevicePtr(at), unsafe.Pointer(unsafe.SliceData(mem)), int64(len(mem))); err != nil {
		return c.machine.failed("cuMemcpyHtoD", err)
	}
	return c.machine.failed("cuStreamSynchronize", cu.Stream{}.Synchronize())
}

func (c *context) Read(mem []byte, at uint64) error {
	return c.machine.failed("cuMemcpyDtoH", cu.MemcpyDtoH(unsafe.Pointer(unsafe.SliceData(mem)), cu.DevicePtr(at), int64(len(mem))))
}

func (c *context) Share(n int64) (driver.Mapping, *os.File, error) {
	return c.Driver.Share(c.device, n)
}

func (c *context) MapShared(f *os.File, n int64) (driver.Mapping, error) {
	return c.Driver.MapShared(c.device, f, n)
}

// module is an image that is loaded.
type module struct {
	machine *Machine
	module  cu.Module
}

// Load loads the image of a device once: the same for all who ask, and as long as the context lives.
func (c *context) Load(image []byte) (cuda.Module, error) {
	c.machine.mu.Lock()
	defer c.machine.mu.Unlock()
	if m, ok := c.machine.modules[c.device]; ok {
		return m, nil
	}
	m, err := cu.LoadData(string(image))
	if err != nil {
		return nil, c.machine.failed("cuModuleLoadData", err)
	}
	c.machine.modules[c.device] = module{c.machine, m}
	return c.machine.modules[c.device], nil
}

func (m module) Function(name string) (driver.Function, error) {
	f, err := m.module.Function(name)
	return *(*driver.Function)(unsafe.Pointer(&f)), m.machine.failed("cuModuleGetFunction", err)
}

// handed is how many cells a launch hands over, at least as many as any kernel has: the driver reads
// those that the kernel declares.
const handed = 64

// Call puts a kernel on a stream.
func (c *context) Call(f driver.Function, l kernels.Launch, s driver.Stream) error {
	var cells [handed]uint64
	copy(cells[:], l.Args)
	params := make([]unsafe.Pointer, len(cells))
	for i := range cells {
		params[i] = unsafe.Pointer(&cells[i])
	}
	g, b := l.Grid, l.Block
	err := (*(*cu.Function)(unsafe.Pointer(&f))).Launch(int(g[0]), int(g[1]), int(g[2]), int(b[0]), int(b[1]), int(b[2]), int(l.Shared), stream(s), params)
	return c.machine.failed("cuLaunchKernel of "+l.Name, err)
}

func stream(s driver.Stream) cu.Stream { return *(*cu.Stream)(unsafe.Pointer(&s)) }

func event(e driver.Event) cu.Event { return *(*cu.Event)(unsafe.Pointer(&e)) }

func (c *context) NewStream() (driver.Stream, error) {
	s, err := cu.MakeStream(cu.NonBlocking)
	return *(*driver.Stream)(unsafe.Pointer(&s)), c.machine.failed("cuStreamCreate", err)
}

func (c *context) CloseStream(s driver.Stream) error {
	of := stream(s)
	return c.machine.failed("cuStreamDestroy", of.Destroy())
}

// NewEvent makes an event that takes no time and puts a thread that waits for it to sleep.
func (c *context) NewEvent() (driver.Event, error) {
	e, err := cu.MakeEvent(cu.BlockingSyncEvent | cu.DisableTiming)
	return *(*driver.Event)(unsafe.Pointer(&e)), c.machine.failed("cuEventCreate", err)
}

// NewTimer makes an event that remembers when it happened.
func (c *context) NewTimer() (driver.Event, error) {
	e, err := cu.MakeEvent(cu.BlockingSyncEvent)
	return *(*driver.Event)(unsafe.Pointer(&e)), c.machine.failed("cuEventCreate", err)
}

func (c *context) Elapsed(from, to driver.Event) (time.Duration, error) {
	ms, err := event(from).Elapsed(event(to))
	return time.Duration(ms * float64(time.Millisecond)), c.machine.failed("cuEventElapsedTime", err)
}

func (c *context) CloseEvent(e driver.Event) error {
	of := event(e)
	return c.machine.failed("cuEventDestroy", cu.DestroyEvent(&of))
}

func (c *context) Record(e driver.Event, s driver.Stream) error {
	return c.machine.failed("cuEventRecord", event(e).Record(stream(s)))
}

func (c *context) Wait(s driver.Stream, e driver.Event) error {
	return c.machine.failed("cuStreamWaitEvent", stream(s).Wait(event(e), 0))
}

func (c *context) Synchronize(e driver.Event) error {
	return c.machine.failed("cuEventSynchronize", event(e).Synchronize())
}

func (c *context) CopyIn(at uint64, mem []byte, s driver.Stream) error {
	err := cu.MemcpyHtoDAsync(cu.DevicePtr(at), unsafe.Pointer(unsafe.SliceData(mem)), int64(len(mem)), stream(s))
	return c.machine.failed("cuMemcpyHtoDAsync", err)
}

func (c *context) CopyOut(mem []byte, at uint64, s driver.Stream) error {
	err := cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(mem)), cu.DevicePtr(at), int64(len(mem)), stream(s))
	return c.machine.failed("cuMemcpyDtoHAsync", err)
}
