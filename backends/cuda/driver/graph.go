package driver

import "unsafe"

// Handles of the driver.
type (
	Stream   uintptr
	Event    uintptr
	Function uintptr
	Graph    uintptr // what a capture has recorded
	Exec     uintptr // a Graph that can be launched
)

// threadLocal makes a capture object to unsafe calls of its own thread alone.
const threadLocal = 1

// BeginCapture has a stream record what is put on it from then on, instead of doing it.
func (d *Driver) BeginCapture(s Stream) error {
	return d.do(callStreamBeginCapture, uintptr(s), threadLocal)
}

// EndCapture ends what BeginCapture began and returns what was recorded.
func (d *Driver) EndCapture(s Stream) (Graph, error) {
	var g Graph
	err := d.do(callStreamEndCapture, uintptr(s), uintptr(unsafe.Pointer(&g)))
	return g, err
}

// Instantiate makes a graph ready to be launched. The graph may be destroyed then.
func (d *Driver) Instantiate(g Graph) (Exec, error) {
	var e Exec
	err := d.do(callGraphInstantiate, uintptr(unsafe.Pointer(&e)), uintptr(g), 0)
	return e, err
}

// Launch puts all that a graph does on a stream, in one call.
func (d *Driver) Launch(e Exec, s Stream) error {
	return d.do(callGraphLaunch, uintptr(e), uintptr(s))
}

// DestroyExec frees a graph that is ready.
func (d *Driver) DestroyExec(e Exec) error { return d.do(callGraphExecDestroy, uintptr(e)) }

// DestroyGraph frees a graph.
func (d *Driver) DestroyGraph(g Graph) error { return d.do(callGraphDestroy, uintptr(g)) }

// maxDynamicShared is the attribute that bounds a launch's dynamic shared memory.
const maxDynamicShared = 8

// AllowShared lets launches of f ask for up to n bytes of dynamic shared memory. Without it they
// have 48 KiB.
func (d *Driver) AllowShared(f Function, n int) error {
	return d.do(callFuncSetAttribute, uintptr(f), maxDynamicShared, uintptr(n))
}
