package turns

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"
)

// steady is a side whose every run takes the same.
func steady(clock, cpu time.Duration, calls *[]string, name string) Side {
	return func(length time.Duration) (Timing, error) {
		*calls = append(*calls, name)
		n := max(1, int(length/clock))
		return Timing{Runs: n, Clock: time.Duration(n) * clock, CPU: time.Duration(n) * cpu}, nil
	}
}

func TestCompareTakesTurns(t *testing.T) {
	var calls []string
	own, other := steady(2*time.Millisecond, 4*time.Millisecond, &calls, "own"), steady(3*time.Millisecond, 3*time.Millisecond, &calls, "other")
	r, err := Plan{Rounds: 3, Length: 60 * time.Millisecond}.Compare(own, other)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Spread{1.5, 1.5, 1.5}); r.Clock != want {
		t.Errorf("Clock = %v, want %v", r.Clock, want)
	}
	if want := (Spread{0.75, 0.75, 0.75}); r.CPU != want {
		t.Errorf("CPU = %v, want %v", r.CPU, want)
	}
	if r.Own != 2*time.Millisecond || r.Other != 3*time.Millisecond || r.OwnCPU != 4*time.Millisecond || r.OtherCPU != 3*time.Millisecond {
		t.Errorf("times of a run = %+v", r)
	}
	if len(calls) != 8 {
		t.Fatalf("%d turns, want 2 to warm up and 6", len(calls))
	}
	for i, who := range calls {
		if want := []string{"own", "other"}[i%2]; who != want {
			t.Errorf("turn %d is of %s, want %s", i, who, want)
		}
	}
}

func TestCompareFailsAsItsSides(t *testing.T) {
	failure := errors.New("no such thing")
	var calls []string
	good := steady(time.Millisecond, time.Millisecond, &calls, "")
	bad := func(time.Duration) (Timing, error) { return Timing{}, failure }
	for situation, sides := range map[string][2]Side{"own": {bad, good}, "other": {good, bad}} {
		if _, err := (Plan{Rounds: 1, Length: time.Millisecond}).Compare(sides[0], sides[1]); !errors.Is(err, failure) {
			t.Errorf("%s fails: Compare = %v, want %v", situation, err, failure)
		}
	}
}

func TestOwnRunsAtLeastOnce(t *testing.T) {
	runs := 0
	timing, err := Own(func() error { runs++; return nil })(0)
	if err != nil || timing.Runs != 1 || runs != 1 || timing.Clock <= 0 {
		t.Errorf("Own(0) = %+v, %v after %d runs, want one run", timing, err, runs)
	}
}

func TestSpreadOf(t *testing.T) {
	all := []float64{5, 1, 4, 2, 3}
	if got, want := SpreadOf(all), (Spread{3, 1, 5}); got != want {
		t.Errorf("SpreadOf(%v) = %v, want %v", all, got, want)
	}
	if all[0] != 5 {
		t.Errorf("SpreadOf has sorted its argument: %v", all)
	}
}

func TestVerdictsAreOfTheMedian(t *testing.T) {
	for ratio, want := range map[Spread]Verdict{{0.9, 0.1, 1}: Held, {0.89, 0.1, 2}: Missed} {
		if got := AtLeast(ratio, 0.9); got != want {
			t.Errorf("AtLeast(%v, 0.9) = %v, want %v", ratio, got, want)
		}
	}
}

func TestPrintGoesOnAfterAFailure(t *testing.T) {
	failure := errors.New("no engine")
	ran := ""
	row := func(name string, err error) Row {
		return Row{name, func(context.Context) ([]Finding, error) { ran += name; return nil, err }}
	}
	err := Print(t.Context(), []Row{row("a", failure), row("b", nil), row("c", nil)}, regexp.MustCompile("a|b"))
	if !errors.Is(err, failure) || ran != "ab" {
		t.Errorf("Print = %v after rows %q, want %v after ab", err, ran, failure)
	}
}

func TestRoundedKeepsThreeDigits(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		999: 999, 123_456: 123_000, 1_234_567_890: 1_230_000_000,
	} {
		if got := rounded(d); got != want {
			t.Errorf("rounded(%d) = %d, want %d", d, got, want)
		}
	}
}
