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
// "devices=2 memory=1048576 version=13010 init=803 pin=801 meminfo=700 launch=700 failing=5 direct=1 cost=10 cold=5 share=801 pools=0": how many
// devices there are, the bytes of each and the driver's version, what the calls return that start the
// driver, register memory, ask for memory, launch, and make memory that processes share, which launch ends in an illegal address, that
// answers may be copied to registered memory alone, how many milliseconds a launch takes besides by the device's clock, and up to which it does, and
// that it has no pools of memory.
const Key = "FAKE_CUDA"

// KernelsKey is the environment variable that names the library of emulated kernels, with which
// launches compute.
const KernelsKey = "FAKE_CUDA_KERNELS"

// ProductsKey is the environment variable in which a process finds the settings of its cuBLASLt, such as "create=1
// heuristic=15 matmul=15 capture=15 after=5 failing=5 wrong=1 cost=10": what the calls return that make a handle, look for
// algorithms, multiply, and multiply while a stream records, once so many have been recorded; which product fails on the
// device; that the faster of two algorithms is wrong; and how many milliseconds that one takes besides by the device's
// clock, of which the other takes three times as many.
const ProductsKey = "FAKE_CUBLASLT"

//go:embed testdata/driver.c
var source []byte

//go:embed testdata/cublaslt.c
var products []byte

// Folder returns a folder with a libcuda.so.1 of its own, for LD_LIBRARY_PATH. It skips the test
// where there is no compiler.
func Folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	build(t, dir, "libcuda.so.1", source)
	return dir
}

// AddProducts adds a libcublasLt.so.13 to a folder from Folder. It computes on the processor.
func AddProducts(t testing.TB, dir string) {
	t.Helper()
	build(t, dir, "libcublasLt.so.13", products)
}

func build(t testing.TB, dir, library string, source []byte, flags ...string) {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skipf("no driver can be made for this test: %v", err)
	}
	file := filepath.Join(dir, library+".c")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		t.Fatal(err)
	}
	flags = append(flags, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread",
		"-Wl,-soname,"+library+",-Bsymbolic", "-o", filepath.Join(dir, library), file, "-lm")
	c := exec.CommandContext(t.Context(), gcc, flags...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c, err, out)
	}
}
