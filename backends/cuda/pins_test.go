package cuda

import (
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// pinning is a context that pins, or does not.
type pinning struct {
	Context
	refusal error
	pinned  int
	during  func() // called while memory is pinned
}

func (p *pinning) In(f func() error) error { return f() }

func (p *pinning) Register([]byte) error {
	if p.during != nil {
		p.during()
	}
	if p.refusal == nil {
		p.pinned++
	}
	return p.refusal
}

func (p *pinning) Unregister([]byte) error { p.pinned--; return nil }

func TestPins(t *testing.T) {
	for _, c := range []struct {
		situation string
		refusal   error
		want      bool
	}{
		{"pinned where it is", nil, true},
		{"not permitted", &driver.Error{Call: "cuMemHostRegister", Result: 800}, false},
		{"not supported", &driver.Error{Call: "cuMemHostRegister", Result: 801}, false},
	} {
		context, shared, other := &pinning{refusal: c.refusal}, make([]byte, 100), make([]byte, 100)
		p := new(pins)
		first := p.share(shared)
		if p.has(shared[:1]) {
			t.Errorf("%s: memory is pinned before there is a context", c.situation)
		}
		p.use(context)
		p.use(&pinning{}) // there is one already
		end := p.share(other)
		for _, mem := range [][]byte{shared, shared[10:20], shared[99:], other[:1]} {
			if got := p.has(mem); got != c.want {
				t.Errorf("%s: has = %v, want %v", c.situation, got, c.want)
			}
		}
		if p.has(make([]byte, 10)) {
			t.Errorf("%s: other memory is pinned", c.situation)
		}
		end()
		if p.has(other) {
			t.Errorf("%s: it is pinned after its end", c.situation)
		}
		p.close()
		first()
		if context.pinned != 0 {
			t.Errorf("%s: %d stay pinned", c.situation, context.pinned)
		}
	}
}

// TestBatchesDoNotWaitForPins has a batch look at its memory while the driver pins other pages.
func TestBatchesDoNotWaitForPins(t *testing.T) {
	p, shared, looked := new(pins), make([]byte, 10), 0
	p.use(&pinning{during: func() {
		if p.has(shared) {
			t.Error("memory is pinned before the driver has pinned it")
		}
		looked++
	}})
	end := p.share(shared)
	if looked != 1 || !p.has(shared) {
		t.Errorf("looked %d times, pinned %v", looked, p.has(shared))
	}
	end()
}
