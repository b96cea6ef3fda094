package driver

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cudatest"
)

// fake is a driver of cudatest in this process, besides which there are others.
type fake struct {
	*Driver
	t      *testing.T
	handle uintptr
}

// load loads a driver of cudatest with settings, and does not start it.
func load(t *testing.T, settings string) (path string, f fake) {
	t.Helper()
	path = filepath.Join(cudatest.Folder(t), library)
	handle, err := purego.Dlopen(path, purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	f = fake{t: t, handle: handle}
	text := append([]byte(settings), 0)
	f.call("fake_configure", uintptr(unsafe.Pointer(&text[0])))
	return path, f
}

// start starts a driver of cudatest and makes a context of its first device current in this
// thread, which the test keeps.
func start(t *testing.T, settings string) fake {
	t.Helper()
	path, f := load(t, settings)
	d, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Driver = d
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	var context uintptr
	f.must("cuDevicePrimaryCtxRetain", uintptr(unsafe.Pointer(&context)), 0)
	f.must("cuCtxSetCurrent", context)
	return f
}

// call calls what this package does not.
//
//go:uintptrescapes
func (f fake) call(name string, args ...uintptr) uintptr {
	f.t.Helper()
	function, err := purego.Dlsym(f.handle, name)
	if err != nil {
		f.t.Fatal(err)
	}
	r, _, _ := purego.SyscallN(function, args...)
	return r
}

//go:uintptrescapes
func (f fake) must(name string, args ...uintptr) {
	f.t.Helper()
	if r := Result(int32(f.call(name, args...))); r != success {
		f.t.Fatal(f.Error(name, r))
	}
}

// full says whether err is of a device that has no more memory.
func full(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Result == outOfMemory && errors.Is(err, backends.ErrUnavailable)
}

func (f fake) stream() Stream {
	var s Stream
	f.must("cuStreamCreate", uintptr(unsafe.Pointer(&s)), 1)
	return s
}

func (f fake) function(name string) Function {
	var module uintptr
	text, function := append([]byte(name), 0), Function(0)
	f.must("cuModuleLoadData", uintptr(unsafe.Pointer(&module)), uintptr(unsafe.Pointer(&text[0])))
	f.must("cuModuleGetFunction", uintptr(unsafe.Pointer(&function)), module, uintptr(unsafe.Pointer(&text[0])))
	return function
}

func TestOpenSaysWhyNot(t *testing.T) {
	if _, err := open("libcuda-that-is-not-there.so.1"); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "no NVIDIA driver") {
		t.Errorf("open of no library = %v, want an ErrUnavailable that says so", err)
	}
	for _, c := range []struct{ situation, settings, want string }{
		{"no device", "devices=0", "sees no device"},
		{"a driver of long ago", "version=12090", "speaks CUDA 12.9, and CUDA 13.0 is the oldest"},
		{"half an update", "init=803", "different versions"},
		{"an error without a name", "init=46", "cuInit: error 46"},
	} {
		path, _ := load(t, c.settings)
		if _, err := open(path); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: open = %v, want an ErrUnavailable with %q", c.situation, err, c.want)
		}
	}
	// Any library of C is one that lacks the functions, but for its version.
	if _, err := open("libc.so.6"); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "does not start") {
		t.Errorf("open of another library = %v, want an ErrUnavailable", err)
	}
}

func TestVersion(t *testing.T) {
	for v, want := range map[Version]string{11040: "11.4", 12000: "12.0", 13000: "13.0", 12100: "12.10"} {
		if got := v.String(); got != want {
			t.Errorf("Version(%d) = %s, want %s", int(v), got, want)
		}
	}
	if v := start(t, "version=13000").Version(); v != 13000 {
		t.Errorf("Version = %v, want 13.0", v)
	}
}

func TestErrorsKeepToTheVocabulary(t *testing.T) {
	f := start(t, "")
	for _, c := range []struct {
		result Result
		kind   error
		sticky bool
	}{
		{1, nil, false},
		{outOfMemory, backends.ErrUnavailable, false},
		{noDevice, backends.ErrUnavailable, false},
		{noBinary, backends.ErrUnsupported, false},
		{notSupported, backends.ErrUnsupported, false},
		{eccUncorrectable, backends.ErrUnavailable, true},
		{illegalAddress, backends.ErrUnavailable, true},
		{launchFailed, backends.ErrUnavailable, true},
		{contained, backends.ErrUnavailable, true},
		{unknown, backends.ErrUnavailable, true},
		{invalidImage, backends.ErrUnsupported, false},
		{701, nil, false},
	} {
		err := f.Error("cuCall", c.result)
		for _, kind := range []error{backends.ErrUnavailable, backends.ErrUnsupported, backends.ErrInvalid} {
			if errors.Is(err, kind) != (kind == c.kind) {
				t.Errorf("%v: is %v: %v, want %v", err, kind, errors.Is(err, kind), kind == c.kind)
			}
		}
		if Sticky(err) != c.sticky {
			t.Errorf("Sticky(%v) = %v, want %v", err, Sticky(err), c.sticky)
		}
	}
	if err := f.Error("cuCall", success); err != nil {
		t.Errorf("Error of a success = %v", err)
	}
	want := "cuCall: out of memory (CUDA_ERROR_OUT_OF_MEMORY)"
	if got := f.Error("cuCall", outOfMemory).Error(); got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
}

func TestHostMemory(t *testing.T) {
	f := start(t, "")
	mem, err := f.HostAlloc(100)
	if err != nil || len(mem) != 100 {
		t.Fatalf("HostAlloc = %d bytes, %v", len(mem), err)
	}
	mem[99] = 1
	if err := f.FreeHost(mem); err != nil {
		t.Error(err)
	}
	if err := f.FreeHost(mem); err == nil || errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("FreeHost for the second time = %v, want a fault of ours", err)
	}
	mem = shared(t, 64)
	pinned := func() bool { return f.call("fake_pinned", uintptr(unsafe.Pointer(&mem[0])), 64) == 1 }
	if err := f.Register(mem); err != nil || !pinned() {
		t.Errorf("Register = %v, pinned %v", err, pinned())
	}
	if err := f.Register(mem[32:]); err == nil {
		t.Error("Register of a page for the second time succeeds")
	}
	if err := f.Unregister(mem); err != nil || pinned() {
		t.Errorf("Unregister = %v, pinned %v", err, pinned())
	}
}

// shared returns memory that another process may map, too, as that of a plugin's host.
func shared(t *testing.T, n int) []byte {
	t.Helper()
	fd, err := unix.MemfdCreate("arena", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(n)); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	return mem
}

func TestRefusedIsWhereAnotherWayIsTaken(t *testing.T) {
	for settings, want := range map[string]bool{"pin=2": true, "pin=800": true, "pin=801": true, "pin=1": false} {
		f := start(t, settings)
		if err := f.Register(make([]byte, 8)); err == nil || Refused(err) != want {
			t.Errorf("%s: Refused(%v) = %v, want %v", settings, err, Refused(err), want)
		}
	}
}

func TestCaptureRecordsAndLaunchRepeats(t *testing.T) {
	f := start(t, "")
	s, fill := f.stream(), f.function("fill")
	mem := make([]byte, 16)
	if err := f.BeginCapture(s); err != nil {
		t.Fatal(err)
	}
	cells := [3]uint64{uint64(uintptr(unsafe.Pointer(&mem[0]))), 7, 16}
	args := [3]unsafe.Pointer{unsafe.Pointer(&cells[0]), unsafe.Pointer(&cells[1]), unsafe.Pointer(&cells[2])}
	f.must("cuLaunchKernel", uintptr(fill), 1, 1, 1, 32, 1, 1, 0, uintptr(s), uintptr(unsafe.Pointer(&args[0])), 0)
	g, err := f.EndCapture(s)
	if err != nil {
		t.Fatal(err)
	}
	e, err := f.Instantiate(g)
	if err != nil {
		t.Fatal(err)
	}
	f.must("cuStreamSynchronize", uintptr(s))
	if mem[0] != 0 {
		t.Fatal("the capture did what it was to record")
	}
	for range 3 {
		if err := f.Launch(e, s); err != nil {
			t.Fatal(err)
		}
	}
	f.must("cuStreamSynchronize", uintptr(s))
	if n := f.call("fake_launches"); n != 3 || mem[15] != 7 {
		t.Errorf("%d launches, last byte %d, want 3 and 7", n, mem[15])
	}
	if _, err := f.EndCapture(s); err == nil {
		t.Error("EndCapture without BeginCapture succeeds")
	}
	if err := errors.Join(f.DestroyGraph(g), f.DestroyExec(e)); err != nil {
		t.Error(err)
	}
}

func TestSharedMemoryBeyond48KiB(t *testing.T) {
	f := start(t, "")
	s, k := f.stream(), f.function("args0")
	launch := func() Result {
		return Result(int32(f.call("cuLaunchKernel", uintptr(k), 1, 1, 1, 32, 1, 1, 96<<10, uintptr(s), 0, 0)))
	}
	if launch() == success {
		t.Fatal("a launch with 96 KiB of shared memory succeeds unasked")
	}
	if err := f.AllowShared(k, 96<<10); err != nil || launch() != success {
		t.Errorf("AllowShared = %v, and the launch fails", err)
	}
	if err := f.AllowShared(k, 1<<20); err == nil {
		t.Error("AllowShared of 1 MiB succeeds")
	}
	if k = f.function("args0"); launch() == success {
		t.Error("what one function is allowed another has, too")
	}
}

// TestCaptureIsBroken does while a stream is captured what the driver forbids then.
func TestCaptureIsBroken(t *testing.T) {
	f := start(t, "")
	s, mem := f.stream(), uint64(0)
	for _, c := range []struct {
		name string
		args []uintptr
	}{
		{"cuMemAlloc_v2", []uintptr{uintptr(unsafe.Pointer(&mem)), 8}},
		{"cuStreamSynchronize", []uintptr{0}},
		{"cuStreamSynchronize", []uintptr{uintptr(s)}},
	} {
		if err := f.BeginCapture(s); err != nil {
			t.Fatal(err)
		}
		if r := Result(int32(f.call(c.name, c.args...))); r != 900 {
			t.Errorf("%s while a stream is captured = %d, want 900", c.name, r)
		}
		if g, err := f.EndCapture(s); g != 0 || err == nil || !strings.Contains(err.Error(), "901") {
			t.Errorf("EndCapture after %s = %v, %v, want error 901", c.name, g, err)
		}
	}
	f.must("cuMemAlloc_v2", uintptr(unsafe.Pointer(&mem)), 8)
}

func TestPool(t *testing.T) {
	f := start(t, "devices=2 memory=1000")
	p, err := f.DefaultPool(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.DefaultPool(2); err == nil {
		t.Error("DefaultPool of a device that is not there succeeds")
	}
	s := f.stream()
	at, err := f.AllocAsync(800, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.AllocAsync(300, s); !full(err) {
		t.Errorf("AllocAsync beyond the bound = %v, want out of memory", err)
	}
	if err := f.FreeAsync(at, s); err != nil {
		t.Fatal(err)
	}
	if _, err := f.AllocAsync(300, s); !full(err) {
		t.Errorf("AllocAsync before the stream has come to FreeAsync = %v, want out of memory", err)
	}
	f.must("cuStreamSynchronize", uintptr(s))
	if kept := f.call("fake_kept", 0); kept != 800 {
		t.Errorf("the pool has %d bytes free, want 800", kept)
	}
	if err := f.Trim(p, 0); err != nil || f.call("fake_kept", 0) != 0 {
		t.Errorf("Trim leaves %d bytes, want 0", f.call("fake_kept", 0))
	}
	if _, err := f.AllocAsync(300, s); err != nil {
		t.Errorf("AllocAsync after FreeAsync = %v", err)
	}
}

func TestAStickyErrorStays(t *testing.T) {
	f := start(t, "meminfo=700")
	var free, total uint64
	r := Result(int32(f.call("cuMemGetInfo_v2", uintptr(unsafe.Pointer(&free)), uintptr(unsafe.Pointer(&total)))))
	if err := f.Error("cuMemGetInfo", r); !Sticky(err) {
		t.Fatalf("cuMemGetInfo = %v, want a sticky error", err)
	}
	if err := f.Register(make([]byte, 8)); !Sticky(err) {
		t.Errorf("Register after a sticky error = %v, want the same", err)
	}
}
