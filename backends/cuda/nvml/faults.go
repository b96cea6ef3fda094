package nvml

import (
	"cmp"
	"iter"
	"maps"
	"time"
	"unsafe"
)

// Faults are the critical faults of a device that its driver numbers, the Xids, from the moment at which
// they were asked for. They are for one goroutine.
type Faults struct {
	library *Library
	set     uintptr
}

// eventXid is nvmlEventTypeXidCriticalError.
const eventXid = 8

// Faults begins to listen for faults. A device that does not tell them, as a part of one, is an error.
func (d Device) Faults() (*Faults, error) {
	f := &Faults{library: d.library}
	if r := f.library.call(callEventSetCreate, uintptr(unsafe.Pointer(&f.set))); r != success {
		return nil, f.library.refused(callEventSetCreate, r)
	}
	if r := d.ask(callRegisterEvents, eventXid, f.set); r != success {
		f.Close()
		return nil, f.library.refused(callRegisterEvents, r)
	}
	return f, nil
}

// Next waits for a fault, at most so long, and returns its number, 999 for one that the driver does not
// know; 0 if there was none.
func (f *Faults) Next(patience time.Duration) (xid uint64, err error) {
	var e struct { // an nvmlEventData_t
		device                    uintptr
		kind, data                uint64
		instance, computeInstance uint32
	}
	switch r := f.library.call(callEventSetWait, f.set, uintptr(unsafe.Pointer(&e)), uintptr(patience.Milliseconds())); {
	case r == timedOut || r == success && e.kind != eventXid:
		return 0, nil
	case r != success:
		return 0, f.library.refused(callEventSetWait, r)
	}
	return e.data, nil
}

// Close ends the listening.
func (f *Faults) Close() { f.library.call(callEventSetFree, f.set) }

// meanings say what the commonest Xids mean and what to do, as NVIDIA's catalogue of them does.
var meanings = map[uint64]string{
	13:  "an exception of the engine, mostly a program's fault: report it if it comes again",
	31:  "a page fault, mostly a program's fault: report it if it comes again",
	43:  "a program has failed and ends; the device is healthy",
	45:  "what a program has had there is torn down, since it ends or for an Xid before",
	48:  "an uncorrectable memory error: reset the device or reboot",
	63:  "a row of memory is remapped, or a page retired, for its errors: nothing is to be done now",
	64:  "remapping a row of memory, or retiring a page, has failed: reset the device",
	74:  "a link to another device has failed: look at `nvidia-smi nvlink`, reset the device or reboot",
	79:  "the device has fallen off the bus: reboot, and look at its slot, its power and the kernel's log",
	94:  "a memory error that one program alone has met: reset the device when convenient",
	95:  "a memory error that several programs may have met: reset the device before anything runs there",
	119: "the device's own processor does not answer: reset the device, or switch the machine off and on",
}

// Common returns the commonest Xids.
func Common() iter.Seq[uint64] { return maps.Keys(meanings) }

// Meaning says what an Xid means and what to do, for people.
func Meaning(xid uint64) string {
	return cmp.Or(meanings[xid], "look for it in NVIDIA's catalogue of Xids")
}
