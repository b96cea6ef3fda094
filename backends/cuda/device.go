package cuda

import (
	"fmt"
	"strings"
)

// Device is a device of this machine.
type Device struct {
	Name         string // such as "NVIDIA H100 80GB HBM3"
	Major, Minor int    // its compute capability
	Memory       uint64 // bytes
	Processors   int    // multiprocessors
	UUID         [16]byte
}

// String describes the device for people.
func (d Device) String() string {
	return fmt.Sprintf("%s (sm_%d%d, %s)", d.Name, d.Major, d.Minor, inUnits(d.Memory))
}

// describe lists devices for people, equal ones that follow each other in one.
func describe(devices []Device) string {
	var all []string
	for i := 0; i < len(devices); {
		n := 1
		for i+n < len(devices) && devices[i+n].String() == devices[i].String() {
			n++
		}
		text := devices[i].String()
		if n > 1 {
			text = fmt.Sprintf("%d × %s", n, text)
		}
		all = append(all, text)
		i += n
	}
	return strings.Join(all, ", ")
}
