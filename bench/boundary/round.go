package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// side is one of two things that are compared.
type side struct {
	name string
	pids []int // whose CPU time counts, besides this process'
	run  func(ctx context.Context, d time.Duration) (operations int, took time.Duration, err error)
}

// sample is a round of a side: the wall and CPU time of an operation.
type sample struct{ wall, cpu time.Duration }

// target is what a ratio is to be.
type target struct {
	of    string // what the ratio is of
	rate  bool   // the ratio is of rates, and the bound a lower one
	bound float64
}

func (s side) sample(ctx context.Context, d time.Duration) (sample, error) {
	before, err := s.cpu()
	if err != nil {
		return sample{}, err
	}
	n, took, err := s.run(ctx, d)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", s.name, err)
	}
	after, err := s.cpu()
	n = max(n, 1)
	return sample{took / time.Duration(n), (after - before) / time.Duration(n)}, err
}

// compare runs both in turns and prints the line of the table.
func compare(ctx context.Context, o options, table io.Writer, t target, ours, base side) error {
	if !o.only.MatchString(t.of) {
		return nil
	}
	var walls, cpus []float64
	var a, b []sample
	for range o.rounds + 1 {
		x, err := ours.sample(ctx, o.round)
		if err != nil {
			return err
		}
		y, err := base.sample(ctx, o.round)
		if err != nil {
			return err
		}
		a, b = append(a, x), append(b, y)
	}
	a, b = a[1:], b[1:] // the first pays for what a first time pays for
	for i := range a {
		walls = append(walls, float64(a[i].wall)/float64(b[i].wall))
		cpus = append(cpus, float64(a[i].cpu)/float64(max(b[i].cpu, 1)))
	}
	ratio, held, want := median(walls), false, ""
	if t.rate {
		ratio = 1 / ratio
		held, want = ratio >= t.bound, fmt.Sprintf("≥ %g", t.bound)
	} else {
		held, want = ratio <= t.bound, fmt.Sprintf("≤ %g", t.bound)
	}
	verdict := map[bool]string{true: "held", false: "missed"}[held]
	_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%.3g\t%.3g\t%s %s\t\n",
		t.of, describe(ours, a, t.rate), describe(base, b, t.rate), ratio, median(cpus), want, verdict)
	return err
}

func describe(s side, samples []sample, rate bool) string {
	var walls, cpus []time.Duration
	for _, x := range samples {
		walls, cpus = append(walls, x.wall), append(cpus, x.cpu)
	}
	wall, cpu := median(walls), median(cpus)
	if rate {
		return fmt.Sprintf("%s %.0f/s, CPU %.2f µs", s.name, float64(time.Second)/float64(max(wall, 1)), micros(cpu))
	}
	return fmt.Sprintf("%s %.2f µs, CPU %.2f µs", s.name, micros(wall), micros(cpu))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func median[T float64 | time.Duration](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

// cpu returns the CPU time of this process and the side's, by the scheduler's clock.
func (s side) cpu() (time.Duration, error) {
	var total time.Duration
	for _, pid := range append([]int{os.Getpid()}, s.pids...) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				continue // the thread has ended
			}
			var running int64
			if _, err := fmt.Sscan(string(text), &running); err != nil {
				return 0, err
			}
			total += time.Duration(running)
		}
	}
	return total, nil
}
