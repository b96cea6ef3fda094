//go:build cuda

package main

import (
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMetric(t *testing.T) {
	text := []byte("# TYPE thrum_batch_rows histogram\nthrum_batch_rows_sum{model=\"a\"} 12.5\nthrum_batch_rows_sum{model=\"b\"} 3\nthrum_batch_rows_count{model=\"a\"} 7\n")
	if got := metric(text, "thrum_batch_rows_sum{"); got != 15.5 {
		t.Errorf("metric = %v, want 15.5", got)
	}
}

func TestCosine(t *testing.T) {
	for _, c := range []struct {
		situation string
		a, b      []float32
		want      float64
	}{
		{"the same but for a factor", []float32{1, 2, -3}, []float32{2, 4, -6}, 1},
		{"nothing in common", []float32{1, 0}, []float32{0, 5}, 0},
		{"no numbers", []float32{float32(math.NaN())}, []float32{1}, math.NaN()},
	} {
		got, err := cosine(c.a, c.b)
		if err != nil || !(math.Abs(got-c.want) < 1e-6) && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: cosine = %v, %v, want %v", c.situation, got, err, c.want)
		}
	}
	if _, err := cosine([]float32{1}, nil); err == nil {
		t.Error("answers of different lengths are compared")
	}
}

func TestTailKeepsTheLastLine(t *testing.T) {
	var said tail
	for _, text := range []string{"first\n", strings.Repeat("x", 9000), "\nlast", " words\n"} {
		if n, err := said.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	if got := said.String(); got != "last words" {
		t.Errorf("String = %q", got)
	}
	if got := oneLine(strings.Repeat("word ", 100)); len(got) > 210 || !strings.HasPrefix(got, "… ") {
		t.Errorf("oneLine = %q", got)
	}
}

// TestProcessesAreSeen looks at a process that computes.
func TestProcessesAreSeen(t *testing.T) {
	c := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	children, err := childrenOf(os.Getpid())
	if err != nil || !slices.Contains(children, c.Process.Pid) {
		t.Errorf("childrenOf = %v, %v, want %d among them", children, err, c.Process.Pid)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		fine, err := processorTime(c.Process.Pid)
		coarse, second := ticks(c.Process.Pid)
		if err != nil || second != nil {
			t.Fatal(err, second)
		}
		if fine > 0 && coarse > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a process that computes has had %v, %v of the processor", fine, coarse)
		}
	}
}

func TestPagesAreWhole(t *testing.T) {
	for _, n := range []int{1, 4096, 4097, 100000} {
		mem := pages(n)
		if addressOf(mem)%4096 != 0 || len(mem)%4096 != 0 || len(mem) < n || len(mem) >= n+4096 {
			t.Errorf("pages(%d) = %d bytes at %#x", n, len(mem), addressOf(mem))
		}
	}
}
