package nvml

import (
	"math"
	"unsafe"

	"github.com/thrumserve/thrum/backends"
)

// Device is a device that the library knows.
type Device struct {
	library *Library
	handle  uintptr

	ID string // such as "GPU-1b2c4a5e-…", or "MIG-…" of a part of one
}

// figures are what has been read of a device so far.
type figures map[backends.Figure]float64

// readings ask for everything, each for what one function tells. Each returns that function's result.
var readings = []func(d Device, into figures) result{
	utilization, memory,
	number32(callPower, backends.FigurePower, 1000), // in milliwatts
	number32(callPowerLimit, backends.FigurePowerLimit, 1000),
	number64(callEnergy, backends.FigureEnergy, 1000), // in millijoules
	temperature,
	clock(clockSM, backends.FigureClock), clock(clockMemory, backends.FigureMemoryClock),
	memoryErrors(typeCorrected, backends.FigureCorrected), memoryErrors(typeUncorrected, backends.FigureUncorrected),
	throttled,
}

// Figures asks the device for its figures. One that is lost, or has to be reset, has a single one.
func (d Device) Figures() map[backends.Figure]float64 {
	all := figures{}
	for _, read := range readings {
		switch read(d, all) {
		case success:
			all[backends.FigureAnswers] = 1
		case isLost, resetRequired:
			return figures{backends.FigureAnswers: 0}
		}
	}
	return all
}

// Taken returns how many bytes of the device a process takes, by its number: all, as the driver counts.
// It is 0 if that is not known.
func (d Device) Taken(pid int) uint64 {
	type process struct { // an nvmlProcessInfo_t
		pid   uint32
		bytes uint64
		_     [2]uint32 // the part of the device
	}
	var all [256]process // more are not told
	n := uint32(len(all))
	if d.ask(callProcesses, uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&all))) != success {
		return 0
	}
	const unknown = math.MaxUint64 // NVML_VALUE_NOT_AVAILABLE
	for _, p := range all[:n] {
		if p.pid == uint32(pid) && p.bytes != unknown {
			return p.bytes
		}
	}
	return 0
}

// ask calls a function of the device.
//
//go:uintptrescapes
func (d Device) ask(c call, args ...uintptr) result {
	return d.library.call(c, append([]uintptr{d.handle}, args...)...)
}

// utilization reads an nvmlUtilization_t, in percent.
func utilization(d Device, into figures) result {
	var u struct{ device, memory uint32 }
	r := d.ask(callUtilization, uintptr(unsafe.Pointer(&u)))
	if r == success {
		into[backends.FigureUtilization], into[backends.FigureMemoryUtilization] = float64(u.device)/100, float64(u.memory)/100
	}
	return r
}

// memory reads an nvmlMemory_t.
func memory(d Device, into figures) result {
	var m struct{ total, free, used uint64 }
	r := d.ask(callMemory, uintptr(unsafe.Pointer(&m)))
	if r == success {
		into[backends.FigureMemoryTotal], into[backends.FigureMemoryFree], into[backends.FigureMemoryUsed] = float64(m.total), float64(m.free), float64(m.used)
	}
	return r
}

// number32 reads a number in a unit that is one of so many parts of the figure's.
func number32(c call, figure backends.Figure, parts float64) func(Device, figures) result {
	return func(d Device, into figures) result {
		var n uint32
		r := d.ask(c, uintptr(unsafe.Pointer(&n)))
		if r == success {
			into[figure] = float64(n) / parts
		}
		return r
	}
}

func number64(c call, figure backends.Figure, parts float64) func(Device, figures) result {
	return func(d Device, into figures) result {
		var n uint64
		r := d.ask(c, uintptr(unsafe.Pointer(&n)))
		if r == success {
			into[figure] = float64(n) / parts
		}
		return r
	}
}

// temperature reads the sensor of the chip, by an nvmlTemperature_v1_t where the library has them.
func temperature(d Device, into figures) result {
	const chip = 0 // NVML_TEMPERATURE_GPU
	t := struct {
		version, sensor uint32
		celsius         int32
	}{version: 12 | 1<<24, sensor: chip}
	r := d.ask(callTemperatureV, uintptr(unsafe.Pointer(&t)))
	if r != success {
		r = d.ask(callTemperature, chip, uintptr(unsafe.Pointer(&t.celsius)))
	}
	if r == success {
		into[backends.FigureTemperature] = float64(t.celsius)
	}
	return r
}

// An nvmlClockType_t.
const (
	clockSM     = 1
	clockMemory = 2
)

// clock reads a clock, in MHz.
func clock(kind uintptr, figure backends.Figure) func(Device, figures) result {
	return func(d Device, into figures) result {
		var n uint32
		r := d.ask(callClock, kind, uintptr(unsafe.Pointer(&n)))
		if r == success {
			into[figure] = float64(n) * 1e6
		}
		return r
	}
}

// An nvmlMemoryErrorType_t.
const (
	typeCorrected   = 0
	typeUncorrected = 1
)

// memoryErrors reads what has been counted since the driver was loaded.
func memoryErrors(kind uintptr, figure backends.Figure) func(Device, figures) result {
	return func(d Device, into figures) result {
		const volatile = 0 // NVML_VOLATILE_ECC
		var n uint64
		r := d.ask(callECC, kind, volatile, uintptr(unsafe.Pointer(&n)))
		if r == success {
			into[figure] = float64(n)
		}
		return r
	}
}

// reasons are the bits of nvmlClocksEventReasons that say that clocks are held down: being idle is
// none, nor are settings.
var reasons = map[backends.Figure]uint64{
	backends.FigureThrottledPower:    0x4,
	backends.FigureThrottledHardware: 0x8,
	backends.FigureThrottledSync:     0x10,
	backends.FigureThrottledHeat:     0x20,
	backends.FigureThrottledHotChip:  0x40,
	backends.FigureThrottledBrake:    0x80,
}

// throttled reads why clocks are held down.
func throttled(d Device, into figures) result {
	var bits uint64
	r := d.ask(callEventReasons, uintptr(unsafe.Pointer(&bits)))
	if r == functionNotFound {
		r = d.ask(callThrottleReasons, uintptr(unsafe.Pointer(&bits)))
	}
	if r == success {
		for figure, bit := range reasons {
			into[figure] = 0
			if bits&bit != 0 {
				into[figure] = 1
			}
		}
	}
	return r
}
