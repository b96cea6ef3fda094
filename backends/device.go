package backends

import (
	"fmt"
	"time"
)

// Device is a device, such as a GPU, on which a backend has models.
type Device struct {
	ID     string // the only one of its name anywhere, such as "GPU-1b2c4a5e-…"
	Number int    // as a model's options give it
	Name   string // for people, such as "NVIDIA H100 80GB HBM3"
	Driver string // its driver's version; empty if that is not known

	Held   uint64 // bytes of its memory that this process holds for its models by itself
	Shared uint64 // and together with the other processes of the version
	Taken  uint64 // that it takes in all, as the driver counts; 0 if that is not known

	// Figures are what the device says of itself. What it does not say is not there.
	Figures map[Figure]float64
	Read    time.Duration // when it said so, by the machine's monotonic clock
}

// Figure is a kind of figure that a device gives of itself.
type Figure string

// The figures. Memory is in bytes. Counts and energy grow until the device's driver is loaded anew.
// Throttled are 1 while that holds the device's clocks down, else 0.
const (
	FigureAnswers           Figure = "answers"            // 1; 0 of a device that is lost, or has to be reset
	FigureUtilization       Figure = "utilization"        // share of the time lately in which it computed, 0 to 1
	FigureMemoryUtilization Figure = "memory_utilization" // in which its memory was read or written
	FigureMemoryTotal       Figure = "memory_total"
	FigureMemoryUsed        Figure = "memory_used" // by all processes, and by the driver itself
	FigureMemoryFree        Figure = "memory_free"
	FigurePower             Figure = "power"       // watts
	FigurePowerLimit        Figure = "power_limit" // watts
	FigureEnergy            Figure = "energy"      // joules
	FigureTemperature       Figure = "temperature" // degrees Celsius
	FigureClock             Figure = "clock"       // of what computes; hertz
	FigureMemoryClock       Figure = "memory_clock"
	FigureCorrected         Figure = "corrected"   // memory errors that were corrected
	FigureUncorrected       Figure = "uncorrected" // and that could not be
	FigureThrottledPower    Figure = "throttled_power_limit"
	FigureThrottledHeat     Figure = "throttled_heat"       // the driver's doing
	FigureThrottledHotChip  Figure = "throttled_heat_chip"  // the device's own, by half or more
	FigureThrottledBrake    Figure = "throttled_power_chip" // as the power supply asks for
	FigureThrottledHardware Figure = "throttled_chip"       // for any reason of the device's own
	FigureThrottledSync     Figure = "throttled_sync"       // to the slowest of a group of devices
)

// FigureXid is the figure that counts a fault which the device's driver gives a number, of all processes.
func FigureXid(n uint64) Figure { return Figure(fmt.Sprintf("xid_%d", n)) }

// DeviceFailed is the exit status of a backend's process that ends because its device answers it no
// more, by which the host tells and counts that.
const DeviceFailed = 74
