//go:build cuda

package gpu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cudatest"
)

// TestWithADriver runs the tests of this package that need one in a process with a driver of
// cudatest: package cu looks for its library when the process starts.
func TestWithADriver(t *testing.T) {
	if os.Getenv(cudatest.Key) != "" {
		t.Skip("this is the process with a driver")
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestDevice")
	c.Env = append(os.Environ(), "LD_LIBRARY_PATH="+cudatest.Folder(t), cudatest.Key+"=devices=2 memory=1000")
	out, err := c.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestDeviceComputesInOrder")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func machine(t *testing.T) *Machine {
	t.Helper()
	if os.Getenv(cudatest.Key) == "" {
		t.Skip("TestWithADriver runs this")
	}
	m, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m.(*Machine)
}

func TestDeviceMemoryRunsOut(t *testing.T) {
	m := machine(t)
	err := m.In(1, func() error {
		at, err := cu.MemAlloc(900)
		if err != nil {
			return err
		}
		if free, err := m.Memory(1); err != nil || free != 100 {
			t.Errorf("Memory = %d, %v, want 100", free, err)
		}
		if free, err := m.Memory(0); err != nil || free != 1000 {
			t.Errorf("Memory of the other device = %d, %v, want 1000", free, err)
		}
		return m.In(1, func() error {
			_, err := cu.MemAlloc(101)
			if err = m.failed("cuMemAlloc", err); !strings.Contains(fmt.Sprint(err), "out of memory") || !errors.Is(err, backends.ErrUnavailable) {
				t.Errorf("MemAlloc of more than there is = %v, want out of memory", err)
			}
			return cu.MemFree(at)
		})
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDeviceComputesInOrder(t *testing.T) {
	m := machine(t)
	if err := m.In(0, func() error { return compute(t, m) }); err != nil {
		t.Error(err)
	}
}

// compute copies to the device in one stream, and launches and copies back in another.
func compute(t *testing.T, m *Machine) error {
	copies, err := cu.MakeStream(cu.NonBlocking)
	if err != nil {
		return err
	}
	work, err := cu.MakeStream(cu.NonBlocking)
	if err != nil {
		return err
	}
	event, err := cu.MakeEvent(cu.DefaultEvent)
	if err != nil {
		return err
	}
	at, err := cu.MemAlloc(8)
	if err != nil {
		return err
	}
	module, err := cu.LoadData("kernels")
	if err != nil {
		return err
	}
	fill, err := module.Function("fill")
	if err != nil {
		return err
	}
	in, out := []byte("abcdefgh"), make([]byte, 8)
	cells := [3]uint64{uint64(at), 'x', 3}
	err = errors.Join(
		cu.MemcpyHtoDAsync(at, unsafe.Pointer(&in[0]), 8, copies),
		event.Record(copies),
		work.Wait(event, 0),
		fill.Launch(1, 1, 1, 32, 1, 1, 0, work, []unsafe.Pointer{unsafe.Pointer(&cells[0]), unsafe.Pointer(&cells[1]), unsafe.Pointer(&cells[2])}),
		cu.MemcpyDtoHAsync(unsafe.Pointer(&out[0]), at, 8, work),
	)
	if err != nil {
		return err
	}
	if !bytes.Equal(out, make([]byte, 8)) {
		t.Errorf("%q is there before anybody has waited for it", out)
	}
	if err := work.Synchronize(); err != nil {
		return err
	}
	if string(out) != "xxxdefgh" {
		t.Errorf("the device gives %q, want what was copied with what was launched over it", out)
	}
	return m.failed("cuMemFree", cu.MemFree(at))
}
