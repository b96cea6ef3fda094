package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// LiveOptions are what a display shows.
type LiveOptions struct {
	Name     string        // such as "demo, poisson 500/s for 30s"
	Duration time.Duration // of the schedule; 0 if it is not known
	Terminal bool          // whether the display may be redrawn; lines one below the other otherwise
}

// Live shows a load test while it runs. It is not safe for use by several goroutines at once.
type Live struct {
	to    io.Writer
	o     LiveOptions
	lines int // of the block that is shown
	all   *result.Histogram
	total map[result.Outcome]uint64
}

// NewLive returns a display that writes to w. Errors of w are ignored: the display is a convenience.
func NewLive(w io.Writer, o LiveOptions) *Live {
	o.Name = plain(o.Name)
	return &Live{to: w, o: o, all: result.NewHistogram(), total: map[result.Outcome]uint64{}}
}

// Window shows a window of a second that has ended.
func (l *Live) Window(w result.Window) {
	l.all.Merge(w.OK)
	for o, n := range w.Outcomes {
		l.total[o] += n
	}
	if l.o.Terminal {
		l.draw(l.block(w))
	} else {
		fmt.Fprintln(l.to, line(w))
	}
}

// Close leaves what is shown where it is, so that tables can follow.
func (l *Live) Close() { l.lines = 0 }

// draw replaces the block that is shown.
func (l *Live) draw(lines []string) {
	var b strings.Builder
	if l.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", l.lines)
	}
	for _, s := range lines {
		b.WriteString("\r\x1b[K" + s + "\n")
	}
	io.WriteString(l.to, b.String())
	l.lines = len(lines)
}

func (l *Live) block(w result.Window) []string {
	return []string{
		cut(l.o.Name),
		l.progress(w.Begin + time.Second),
		cut(fmt.Sprintf("offered %9s/s   achieved %9s/s   in flight %6s   sent late %s",
			count(w.Offered), count(w.Outcomes[result.OK]), count(uint64(max(0, w.Inflight))), count(w.Late))),
		"latency    " + latencyHead,
		"  now    " + latencyLine(w.OK),
		"  so far " + latencyLine(l.all),
		cut("outcomes " + outcomes(l.total)),
	}
}

// width is that of a terminal that nobody has made larger.
const width = 79

// cut keeps a line from being broken, which would displace the block.
func cut(s string) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-3]) + "..."
	}
	return s
}

func (l *Live) progress(at time.Duration) string {
	if l.o.Duration <= 0 {
		return clock(at)
	}
	const bar = 40
	share := max(0, min(1, at.Seconds()/l.o.Duration.Seconds()))
	done := int(share * bar)
	return fmt.Sprintf("[%s%s] %3.0f %%  %s of %s", strings.Repeat("#", done), strings.Repeat(".", bar-done), 100*share, clock(at), clock(l.o.Duration))
}

const latencyHead = "  p50 ms    p90 ms    p99 ms  p99.9 ms    max ms"

func latencyLine(h *result.Histogram) string {
	var b strings.Builder
	for _, s := range latencyRow(buildLatency(h)) {
		fmt.Fprintf(&b, "%10s", s)
	}
	return b.String()
}

func outcomes(counts map[result.Outcome]uint64) string {
	var words []string
	for _, o := range result.Outcomes {
		if counts[o] > 0 || o == result.OK {
			words = append(words, fmt.Sprintf("%s %s", o, count(counts[o])))
		}
	}
	return strings.Join(words, ", ")
}

// line is a window in a line.
func line(w result.Window) string {
	l := buildLatency(w.OK)
	return fmt.Sprintf("%7s  offered %s/s, achieved %s/s, p50 %s ms, p99 %s ms, max %s ms, in flight %d, sent late %s, %s",
		clock(w.Begin+time.Second), count(w.Offered), count(w.Outcomes[result.OK]), millis(l.P50MS), millis(l.P99MS), millis(l.MaxMS), w.Inflight, count(w.Late), outcomes(w.Outcomes))
}
