package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cublaslt"
	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// machine is one of the test's making.
type machine struct {
	devices []Device
	free    uint64
	err     error
	closed  bool
}

func (m *machine) Version() driver.Version    { return 13000 }
func (m *machine) Devices() []Device          { return m.devices }
func (m *machine) Memory(int) (uint64, error) { return m.free, m.err }
func (m *machine) Library() (*cublaslt.Library, error) {
	return nil, backends.Errorf(backends.ErrUnavailable, "libcublasLt.so.13: not there")
}
func (m *machine) Context(int) Context { return noContext{} }
func (m *machine) Close() error        { m.closed = true; return nil }

// noContext is the context of a device on which nothing works.
type noContext struct{ Context }

func (noContext) In(func() error) error {
	return backends.Errorf(backends.ErrUnavailable, "no context here")
}

var (
	big   = Device{Name: "Big", Major: 9, Memory: 80 << 30}
	small = Device{Name: "Small", Major: 8, Minor: 6, Memory: 12 << 30}
	old   = Device{Name: "Old", Major: 7, Minor: 5, Memory: 16 << 30}
)

func backendOf(m *machine) *Backend {
	return New(func() (Machine, error) { return m, nil }, func(major, _ int) ([]byte, error) {
		if major < 8 {
			return nil, errors.New("8.0 is the least")
		}
		return []byte("an image"), nil
	})
}

// bundled is a model's folder.
func bundled(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("../../examples/models/*/1/model.onnx")
	if err != nil || len(found) == 0 {
		t.Fatalf("no bundled models: %v", err)
	}
	return filepath.Dir(found[0])
}

func TestInfoDescribesTheDevices(t *testing.T) {
	for _, c := range []struct {
		devices []Device
		want    string
	}{
		{[]Device{big}, "Big (sm_90, 80.0 GiB); driver for CUDA 13.0; no cuBLASLt"},
		{[]Device{big, big, small, big}, "2 × Big (sm_90, 80.0 GiB), Small (sm_86, 12.0 GiB), Big (sm_90, 80.0 GiB); driver for CUDA 13.0; no cuBLASLt"},
	} {
		info, err := backendOf(&machine{devices: c.devices}).Info(t.Context())
		if err != nil || info.Name != "cuda" || info.Device != c.want {
			t.Errorf("Info = %+v, %v, want device %q", info, err, c.want)
		}
	}
}

func TestABackendWithoutAMachineSaysWhy(t *testing.T) {
	refusal := backends.Errorf(backends.ErrUnavailable, "no NVIDIA driver")
	b := New(func() (Machine, error) { return nil, refusal }, nil)
	if _, err := b.Info(t.Context()); err != refusal {
		t.Errorf("Info = %v, want %v", err, refusal)
	}
	if _, err := b.Load(t.Context(), backends.Spec{Dir: bundled(t)}); err != refusal {
		t.Errorf("Load = %v, want %v", err, refusal)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "model.onnx"), []byte("no model"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := bundled(t)
	for _, c := range []struct {
		situation string
		machine   machine
		spec      backends.Spec
		kind      error
		want      string
	}{
		{"any model", machine{free: 1 << 30}, backends.Spec{Dir: dir}, backends.ErrUnavailable, "no context here"},
		{"the last device", machine{free: 1 << 30}, backends.Spec{Dir: dir, Options: map[string]string{"device": "1"}}, backends.ErrUnavailable, "no context here"},
		{"a device from before", machine{free: 1 << 30}, backends.Spec{Dir: dir, Options: map[string]string{"device": "2"}}, backends.ErrUnsupported, "8.0 is the least"},
		{"another precision", machine{}, backends.Spec{Dir: dir, Options: map[string]string{"precision": "fp8"}}, backends.ErrInvalid, "use fp32, tf32, fp16, bf16 or int8"},
		{"a device that is not there", machine{}, backends.Spec{Dir: dir, Options: map[string]string{"device": "3"}}, backends.ErrInvalid, "this machine has 0 to 2"},
		{"a device that is no number", machine{}, backends.Spec{Dir: dir, Options: map[string]string{"device": "gpu"}}, backends.ErrInvalid, "this machine has 0 to 2"},
		{"other products", machine{}, backends.Spec{Dir: dir, Options: map[string]string{"products": "fast"}}, backends.ErrInvalid, "use fastest, kernels or cublaslt"},
		{"a library that is not there", machine{}, backends.Spec{Dir: dir, Options: map[string]string{"products": "cublaslt"}}, backends.ErrUnavailable, "there is no cuBLASLt: libcublasLt.so.13: not there"},
		{"an unknown option", machine{}, backends.Spec{Dir: dir, Options: map[string]string{"threads": "1"}}, backends.ErrInvalid, `unknown option "threads"`},
		{"a damaged file", machine{free: 1 << 30}, backends.Spec{Dir: damaged}, backends.ErrInvalid, ""},
		{"memory that cannot be asked for", machine{err: backends.Errorf(backends.ErrUnavailable, "gone")}, backends.Spec{Dir: dir}, backends.ErrUnavailable, "device 0: gone"},
	} {
		c.machine.devices = []Device{big, small, old}
		_, err := backendOf(&c.machine).Load(t.Context(), c.spec)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Load = %v, want %v with %q", c.situation, err, c.kind, c.want)
		}
	}
}

func TestAStickyErrorEndsTheProcess(t *testing.T) {
	m := &machine{devices: []Device{big}, err: &driver.Error{Call: "cuMemGetInfo", Result: 700}}
	b := backendOf(m)
	var ended error
	b.end = func(err error) { ended = err }
	_, err := b.Load(t.Context(), backends.Spec{Dir: bundled(t)})
	if !driver.Sticky(ended) || err == nil {
		t.Errorf("Load = %v and the process ended over %v, want an end over the sticky error", err, ended)
	}
	if err := b.Close(); err != nil || !m.closed {
		t.Errorf("Close = %v, machine closed: %v", err, m.closed)
	}
}
