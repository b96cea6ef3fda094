// Package cudatest makes a CUDA driver for tests, which has devices, memory, streams, events and
// graphs, and computes nothing. It is C, since the driver is reached as a library of C.
package cudatest

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Key is the environment variable in which a process finds the settings of its driver, such as
// "devices=2 memory=1048576 version=12040 init=803 pin=801 meminfo=700 launch=700 failing=5 direct=1": how many
// devices there are, the bytes of each and the driver's version, what the calls return that start the
// driver, register memory, ask for memory, and launch, which launch ends in an illegal address, and that
// answers may be copied to registered memory alone.
const Key = "FAKE_CUDA"

// KernelsKey is the environment variable that names the library of emulated kernels, with which
// launches compute.
const KernelsKey = "FAKE_CUDA_KERNELS"

//go:embed testdata/driver.c
var source []byte

// Folder returns a folder with a libcuda.so.1 of its own, for LD_LIBRARY_PATH. It skips the test
// where there is no compiler.
func Folder(t testing.TB) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skipf("no driver can be made for this test: %v", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "driver.c")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), gcc, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread",
		"-Wl,-soname,libcuda.so.1,-Bsymbolic", "-o", filepath.Join(dir, "libcuda.so.1"), file)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c, err, out)
	}
	return dir
}
