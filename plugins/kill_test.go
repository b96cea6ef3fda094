package plugins

import (
	"errors"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// Whoever would give a killed plugin another call must know at once, not only when it has ended.
func TestKilledPluginSaysSoAtOnce(t *testing.T) {
	p := start(t, command("fake"), Options{})
	if err := p.Err(); err != nil {
		t.Fatalf("Err before = %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Fatalf("Kill = %v", err)
	}
	if err := p.Err(); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Err right after Kill = %v, want an ErrUnavailable", err)
	}
	within(t, "Done after Kill", p.Done())
	if err := p.Kill(); err != nil {
		t.Errorf("Kill of a dead plugin = %v", err)
	}
}
