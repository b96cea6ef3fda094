package scenario

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// soaked is ten minutes of a server that leaks so many MB, goroutines and files a minute.
func soaked(memory, goroutines, files float64) []Sample {
	r := rand.New(rand.NewPCG(9, 9))
	samples := make([]Sample, 600)
	for i := range samples {
		at := float64(i) / 60
		samples[i] = Sample{
			At:         time.Duration(i) * time.Second,
			Memory:     100e6 + memory*1e6*at + 3e6*r.Float64(),
			Goroutines: 50 + float64(int(goroutines*at)) + float64(r.IntN(10)),
			Files:      20 + float64(int(files*at)),
		}
	}
	return samples
}

func TestSoak(t *testing.T) {
	unknown := soaked(0, 0, 0)
	for i := range unknown {
		unknown[i].Goroutines, unknown[i].Files = 0, 0
	}
	for _, c := range []struct {
		name    string
		samples []Sample
		want    Verdict
		text    string
	}{
		{"healthy", soaked(0, 0, 0), Pass, "memory"},
		{"memory leaks", soaked(1, 0, 0), Fail, "LEAKING"},
		{"goroutines leak", soaked(0, 8, 0), Fail, "goroutines: +"},
		{"files leak", soaked(0, 0, 8), Fail, "files: +"},
		{"only memory is known", unknown, Pass, "steady"},
		{"too short", soaked(0, 0, 0)[:50], Unstable, "too short to tell"},
		{"nothing known", make([]Sample, 600), Unstable, ""},
	} {
		growths := Soak(c.samples)
		var lines []string
		for _, g := range growths {
			lines = append(lines, g.String())
		}
		if got := Leaks(growths); got != c.want || !strings.Contains(strings.Join(lines, "\n"), c.text) {
			t.Errorf("%s: %v\n%s\nwant %v and %q", c.name, got, strings.Join(lines, "\n"), c.want, c.text)
		}
	}
}

func TestRecovery(t *testing.T) {
	slow, fast := 100*time.Millisecond, time.Millisecond
	for _, c := range []struct {
		name  string
		slow  []int // seconds of a run of 20
		after time.Duration
		ok    bool
	}{
		{"at once", nil, 0, true},
		{"what was before does not count", []int{3, 4}, 0, true},
		{"after two seconds", []int{10, 11}, 2 * time.Second, true},
		{"a relapse", []int{10, 12}, 3 * time.Second, true},
		{"not any more", []int{10, 11, 12, 13, 14, 15, 16, 17, 18}, 0, false},
	} {
		r := &result.Run{}
		for i := range 20 {
			latency := fast
			for _, s := range c.slow {
				if s == i {
					latency = slow
				}
			}
			r.Windows = append(r.Windows, window(i, latency, 100, 0))
		}
		if after, ok := Recovery(r, 10*time.Second, goal); after != c.after || ok != c.ok {
			t.Errorf("%s: Recovery = %v, %v, want %v, %v", c.name, after, ok, c.after, c.ok)
		}
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 4500*time.Millisecond)
		defer cancel()
		asked := 0
		samples := Watch(ctx, func(context.Context) (Sample, bool) {
			asked++
			return Sample{Memory: float64(asked)}, asked != 2 // it does not know once
		})
		want := []Sample{{At: time.Second, Memory: 1}, {At: 3 * time.Second, Memory: 3}, {At: 4 * time.Second, Memory: 4}}
		if !slices.Equal(samples, want) {
			t.Errorf("Watch = %v, want %v", samples, want)
		}
	})
}

func TestSoakIsOfTheServerAlone(t *testing.T) {
	began := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	run := &result.Run{Began: began.Add(2 * time.Second)}
	var samples []Sample
	for i := range 100 {
		open := 3 * min(i, 30) // connections that are made in the first 30 s, and at times
		run.Windows = append(run.Windows, result.Window{Begin: time.Duration(i) * time.Second, Open: open})
		samples = append(samples, Sample{At: time.Duration(i)*time.Second + 3*time.Second, Memory: 1e6, Files: float64(20 + open)})
	}
	samples = append([]Sample{{At: time.Second, Files: 20}, {At: 2 * time.Second, Files: 20}}, samples...)
	for i, s := range Own(samples, began, run) {
		if s.Files != 20 || s.At != samples[i].At {
			t.Errorf("at %v: %v files, want the server's 20", s.At, s.Files)
		}
	}
	if samples[50].Files == 20 {
		t.Error("what it was given has changed")
	}
	if got := Own([]Sample{{At: 9 * time.Second, Files: 2}, {At: 9 * time.Second}}, began, run); got[0].Files != 1 || got[1].Files != 0 {
		t.Errorf("Own = %+v, want some where some are known, and none where none are", got)
	}
	if got := After(samples, 30*time.Second); len(got) != 73 || got[0].At != 30*time.Second {
		t.Errorf("After begins with %+v of %d, want the samples from 30 s on", got[0], len(got))
	}
	if got := After(samples, time.Hour); len(got) != 0 {
		t.Errorf("After all = %+v, want none", got)
	}
}
