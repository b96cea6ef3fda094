package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// showed is what a display shows of the first windows of a run.
func showed(o LiveOptions) string {
	var b bytes.Buffer
	l := NewLive(&b, o)
	r := made(1, 4, 1, 100, 2200)
	r.Windows[1].Late = 3
	for _, w := range r.Windows {
		l.Window(w)
	}
	l.Close()
	return b.String()
}

func TestLive(t *testing.T) {
	o := LiveOptions{Name: "demo, poisson", Duration: 4 * time.Second}
	golden(t, "live-lines.txt", []byte(showed(o)))
	o.Terminal = true
	golden(t, "live-terminal.txt", []byte(strings.ReplaceAll(showed(o), "\x1b", "ESC")))
}

func TestLiveLinesAreNotBroken(t *testing.T) {
	out := showed(LiveOptions{Name: strings.Repeat("long name ", 20), Terminal: true})
	for line := range strings.Lines(out) {
		_, text, _ := strings.Cut(line, "\x1b[K")
		if n := len([]rune(strings.TrimSuffix(text, "\n"))); n > width {
			t.Errorf("a line of %d letters, at most %d: %q", n, width, text)
		}
	}
}

func TestLiveOfHugeNumbersIsNotBroken(t *testing.T) {
	var b bytes.Buffer
	h := result.NewHistogram()
	h.Record(time.Hour)
	w := result.Window{Begin: 100 * time.Hour, Offered: 1e8, Inflight: 1e6, Late: 1e8, OK: h, Outcomes: map[result.Outcome]uint64{}}
	for _, o := range result.Outcomes {
		w.Outcomes[o] = 1e9
	}
	NewLive(&b, LiveOptions{Terminal: true, Duration: 200 * time.Hour}).Window(w)
	for line := range strings.Lines(b.String()) {
		_, text, _ := strings.Cut(line, "\x1b[K")
		if n := len([]rune(strings.TrimSuffix(text, "\n"))); n > width {
			t.Errorf("a line of %d letters, at most %d: %q", n, width, text)
		}
	}
}

func TestLiveTakesNoOrdersFromNames(t *testing.T) {
	if out := showed(LiveOptions{Name: "x\x1b[2J\nforged line"}); strings.Contains(out, "\x1b[2J") {
		t.Errorf("the name of a model acts on the terminal: %q", out)
	}
	if out := showed(LiveOptions{Name: "x\x1b[2J\nforged", Terminal: true}); strings.Contains(out, "\x1b[2J") || strings.Contains(out, "\nforged") {
		t.Errorf("the name of a model acts on the terminal: %q", out)
	}
}

// After a close the next block does not take the place of what is shown.
func TestLiveClose(t *testing.T) {
	var b bytes.Buffer
	l := NewLive(&b, LiveOptions{Terminal: true})
	l.Window(result.Window{})
	l.Close()
	b.Reset()
	l.Window(result.Window{Begin: time.Second})
	if strings.Contains(b.String(), "\x1b[7A") {
		t.Error("a block was drawn over one that is closed")
	}
}
