package cuda

import (
	"os"
	"time"

	"github.com/thrumserve/thrum/backends/cuda/cublaslt"
	"github.com/thrumserve/thrum/backends/cuda/driver"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// Machine is the devices of this machine, reached through a driver.
type Machine interface {
	// Version is the newest CUDA that the driver speaks.
	Version() driver.Version
	// Devices describes the devices, of which there is at least one.
	Devices() []Device
	// Memory returns how many bytes of a device are free. It makes a context there.
	Memory(device int) (free uint64, err error)
	// Library returns the library that products may go through, or why there is none.
	Library() (*cublaslt.Library, error)
	// Context returns the context of a device, which the process has one of.
	Context(device int) Context
	Close() error
}

// Context is a device as an engine uses it. All methods but In are called by the function that In
// calls.
type Context interface {
	pinner

	// In calls f in a thread in which the context is current.
	In(f func() error) error

	// Alloc returns n bytes that every stream may use when it returns. Free gives back what none uses any
	// more. Neither waits for anything but s, on which nothing else is under way.
	Alloc(n int64, s driver.Stream) (at uint64, err error)
	Free(at uint64, s driver.Stream) error
	// Fill copies mem to the device and returns when it is there, and Read copies from it.
	Fill(at uint64, mem []byte) error
	Read(mem []byte, at uint64) error
	// Share makes n bytes that other processes map by the descriptor, MapShared maps what another has
	// made, and both are given back by Unmap.
	Share(n int64) (driver.Mapping, *os.File, error)
	MapShared(f *os.File, n int64) (driver.Mapping, error)
	ReadOnly(m driver.Mapping) error
	Unmap(m driver.Mapping) error

	// Load makes the kernels of an image ready.
	Load(image []byte) (Module, error)
	// AllowShared lets launches of a function ask for so many bytes of dynamic shared memory.
	AllowShared(f driver.Function, n int) error
	// Call puts a kernel on a stream.
	Call(f driver.Function, l kernels.Launch, s driver.Stream) error

	NewStream() (driver.Stream, error)
	CloseStream(s driver.Stream) error
	NewEvent() (driver.Event, error)
	CloseEvent(e driver.Event) error
	// Record has an event happen when a stream comes to it, and Wait has a stream wait for that.
	Record(e driver.Event, s driver.Stream) error
	Wait(s driver.Stream, e driver.Event) error
	// Synchronize returns when an event has happened. The thread sleeps meanwhile.
	Synchronize(e driver.Event) error
	// NewTimer makes an event that remembers when it happened, and Elapsed returns the time between two.
	NewTimer() (driver.Event, error)
	Elapsed(from, to driver.Event) (time.Duration, error)
	// CopyIn and CopyOut put a copy between pinned memory and the device on a stream.
	CopyIn(at uint64, mem []byte, s driver.Stream) error
	CopyOut(mem []byte, at uint64, s driver.Stream) error

	BeginCapture(s driver.Stream) error
	EndCapture(s driver.Stream) (driver.Graph, error)
	Instantiate(g driver.Graph) (driver.Exec, error)
	Launch(e driver.Exec, s driver.Stream) error
	DestroyExec(e driver.Exec) error
	DestroyGraph(g driver.Graph) error
}

// Module is an image that is loaded.
type Module interface {
	Function(name string) (driver.Function, error)
}
