package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// Levels returns the instruction sets that this processor and this build have, such as "avx2", the
// best one last.
func Levels() []string {
	var names []string
	for _, l := range kernels.Levels() {
		names = append(names, l.String())
	}
	return names
}

// CheckLevel reports, as an ErrInvalid, an instruction set that is not there. The empty name is the
// best one.
func CheckLevel(name string) error {
	if name != "" && !slices.Contains(Levels(), name) {
		return backends.Errorf(backends.ErrInvalid, "cpu_level %q: this processor has %v", name, Levels())
	}
	return nil
}
