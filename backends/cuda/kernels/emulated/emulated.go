// Package emulated runs the kernels of NVIDIA's devices on the processor, for tests: the same sources,
// compiled by g++, with the threads of a block as fibers. emulated.h says how.
//
// The library has one function for others to call, from C or by its symbol:
//
//	const char *emulate(const char *name, const uint32_t grid[3], const uint32_t block[3],
//	                    uint32_t shared, const uint64_t *args);
//
// It runs a kernel to its end and returns 0, or the text of what went wrong. Addresses among the
// arguments are of the process. Threads of the library run the blocks, as many as there are processors.
package emulated

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// Library returns the path of a library with all kernels, which is compiled once for each state of the
// sources. It skips the test where there is no compiler.
func Library(t testing.TB) string {
	t.Helper()
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		t.Skip("kernels are emulated on linux/amd64 alone")
	}
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skipf("kernels cannot be emulated: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "github.com/thrumserve/thrum/backends/cuda/kernels").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dir := strings.TrimSpace(string(out))
	path := filepath.Join(os.TempDir(), fmt.Sprintf("thrum-emulated-%d-%.16x.so", os.Getuid(), fingerprint(t, dir)))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	made := filepath.Join(t.TempDir(), "emulated.so")
	c := exec.CommandContext(t.Context(), compiler, "-std=c++17", "-O2", "-mavx2", "-mfma", "-mf16c", "-fPIC", "-shared",
		"-fsanitize=alignment", "-fsanitize-undefined-trap-on-error",
		"-Wall", "-Wno-unknown-pragmas", "-Werror", "-fvisibility=hidden", "-DEMULATED", "-o", made,
		"-x", "c++", "src/all.cu", "emulated/emulate.cu", "-pthread")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c, err, out)
	}
	keep(t, made, path)
	return path
}

// keep puts a file where other tests find it whole.
func keep(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	part := fmt.Sprintf("%s.%d", to, os.Getpid())
	if err := os.WriteFile(part, data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, to); err != nil {
		t.Fatal(err)
	}
}

// fingerprint is of all sources.
func fingerprint(t testing.TB, dir string) []byte {
	t.Helper()
	h := sha256.New()
	for _, pattern := range []string{"src/*", "emulated/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(h, "%s %d\n", filepath.Base(name), len(data))
			h.Write(data)
		}
	}
	return h.Sum(nil)
}

// Processor runs kernels.
type Processor struct{ emulate, kernel uintptr }

// Open returns a Processor, or skips the test as Library does.
func Open(t testing.TB) *Processor {
	t.Helper()
	handle, err := purego.Dlopen(Library(t), purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	p := new(Processor)
	for name, at := range map[string]*uintptr{"emulate": &p.emulate, "emulated_kernel": &p.kernel} {
		if *at, err = purego.Dlsym(handle, name); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Run does what a launch says and waits for its end.
func (p *Processor) Run(l kernels.Launch) error {
	name := append([]byte(l.Name), 0)
	args := append(append([]uint64(nil), l.Args...), 0)
	text, _, _ := purego.SyscallN(p.emulate, uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&l.Grid)),
		uintptr(unsafe.Pointer(&l.Block)), uintptr(l.Shared), uintptr(unsafe.Pointer(&args[0])))
	runtime.KeepAlive(name)
	runtime.KeepAlive(args)
	if text != 0 {
		return fmt.Errorf("%s: %s", l.Name, textAt(text))
	}
	return nil
}

// Kernels returns the names of all kernels.
func (p *Processor) Kernels() []string {
	var names []string
	for i := uintptr(0); ; i++ {
		text, _, _ := purego.SyscallN(p.kernel, i)
		if text == 0 {
			return names
		}
		names = append(names, textAt(text))
	}
}

// textAt copies a text of C.
func textAt(at uintptr) string {
	p := *(*unsafe.Pointer)(unsafe.Pointer(&at))
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}
