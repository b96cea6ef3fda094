package emulated_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/kernels/emulated"
)

func TestRunRefuses(t *testing.T) {
	p := emulated.Open(t)
	one := [3]uint32{1, 1, 1}
	args := make([]uint64, kernels.MaxArgs)
	for _, c := range []struct {
		name string
		l    kernels.Launch
		want string
	}{
		{"a name that is none", kernels.Launch{Name: "erode", Grid: one, Block: one}, "no kernel of that name"},
		{"no blocks", kernels.Launch{Name: "map_f32", Block: one, Args: args}, "grid"},
		{"too many blocks along z", kernels.Launch{Name: "map_f32", Grid: [3]uint32{1, 1, 1 << 16}, Block: one, Args: args}, "grid"},
		{"more threads than the kernel allows", kernels.Launch{Name: "map_f32", Grid: one, Block: [3]uint32{512, 1, 1}, Args: args}, "block"},
		{"more shared memory than a device has", kernels.Launch{Name: "trees", Grid: one, Block: one, Shared: 1 << 20, Args: args}, "block"},
	} {
		if err := p.Run(c.l); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Run(%+v) = %v, want an error with %q", c.name, c.l, err, c.want)
		}
	}
}

func TestKernelsAreThereOnce(t *testing.T) {
	names := emulated.Open(t).Kernels()
	slices.Sort(names)
	if n := len(names); n == 0 || len(slices.Compact(names)) != n {
		t.Errorf("Kernels() = %v, want different names", names)
	}
}
