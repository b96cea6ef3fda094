package cuda

import (
	"bytes"
	"errors"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// pins is a pinner that pins, or does not.
type pins struct {
	register, alloc error
	pinned          int
}

func (p *pins) Register([]byte) error {
	if p.register == nil {
		p.pinned++
	}
	return p.register
}

func (p *pins) Unregister([]byte) error { p.pinned--; return nil }

func (p *pins) HostAlloc(n int) ([]byte, error) {
	if p.alloc == nil {
		p.pinned++
	}
	return make([]byte, n), p.alloc
}

func (p *pins) FreeHost([]byte) error { p.pinned--; return nil }

func TestArena(t *testing.T) {
	for _, c := range []struct {
		situation string
		register  error
		inPlace   bool
	}{
		{"pinned where it is", nil, true},
		{"not permitted", &driver.Error{Call: "cuMemHostRegister", Result: 800}, false},
		{"not supported", &driver.Error{Call: "cuMemHostRegister", Result: 801}, false},
	} {
		p, shared := &pins{register: c.register}, []byte("0123456789")
		a, err := NewArena(p, shared)
		if err != nil {
			t.Fatalf("%s: %v", c.situation, err)
		}
		if p.pinned != 1 || a.Refusal() != c.register {
			t.Errorf("%s: pinned %d times, Refusal = %v", c.situation, p.pinned, a.Refusal())
		}
		in, err := a.In(2, 3)
		if err != nil || string(in) != "234" || (&in[0] == &shared[2]) != c.inPlace {
			t.Errorf("%s: In = %q, %v, in place: %v, want %v", c.situation, in, err, &in[0] == &shared[2], c.inPlace)
		}
		out, deliver, err := a.Out(5, 2)
		if err != nil {
			t.Fatal(err)
		}
		copy(out, "ab")
		if !c.inPlace && !bytes.Equal(shared, []byte("0123456789")) {
			t.Errorf("%s: the answer is delivered before it is there", c.situation)
		}
		if deliver(); string(shared) != "01234ab789" {
			t.Errorf("%s: shared = %q", c.situation, shared)
		}
		if err := a.Close(); err != nil || p.pinned != 0 {
			t.Errorf("%s: Close = %v, %d pinned", c.situation, err, p.pinned)
		}
	}
}

func TestArenaHasBounds(t *testing.T) {
	a, err := NewArena(&pins{}, make([]byte, 10))
	if err != nil {
		t.Fatal(err)
	}
	const most = int(^uint(0) >> 1)
	for _, c := range []struct{ offset, n int }{{-1, 1}, {0, -1}, {0, 11}, {10, 1}, {11, 0}, {1, most}, {most, 1}, {most, most}} {
		if _, err := a.In(c.offset, c.n); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("In%+v = %v, want an ErrInvalid", c, err)
		}
		if _, _, err := a.Out(c.offset, c.n); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("Out%+v = %v, want an ErrInvalid", c, err)
		}
	}
	if in, err := a.In(10, 0); err != nil || len(in) != 0 {
		t.Errorf("In of nothing at the end = %v, %v", in, err)
	}
}

func TestArenaThatCannotBe(t *testing.T) {
	sticky := &driver.Error{Call: "cuMemHostRegister", Result: 700}
	if _, err := NewArena(&pins{register: sticky}, make([]byte, 1)); !driver.Sticky(err) {
		t.Errorf("NewArena over a sticky error = %v", err)
	}
	full := &driver.Error{Call: "cuMemHostAlloc", Result: 2}
	if _, err := NewArena(&pins{register: full, alloc: full}, make([]byte, 1)); !driver.OutOfMemory(err) {
		t.Errorf("NewArena without memory = %v", err)
	}
}
