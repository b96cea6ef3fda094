package main

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"syscall"
	"time"
)

// steady is a model whose batches take 2 ms, of 4 rows at most.
const steady = "options: {takes: 2ms}\nbatching: {max_rows: 4}\n"

// lifetime is how long an instance is left alone before it is killed: one whose start has not
// paid yet is started again later each time, as it should be. It pays with ten times what it took.
const lifetime = 1800 * time.Millisecond

// killOneOfTwo kills one of two instances after the other.
func killOneOfTwo(ctx context.Context, l *lab) ([]finding, error) {
	outcomes, kills, rate, err := killing(ctx, l, "instances: 2\ndeadline: 5s\n"+steady, lifetime/2, l.kills)
	if err != nil {
		return nil, err
	}
	t := count(outcomes)
	what := fmt.Sprintf("SIGKILL of an instance of two, %d times at 70 %% load", len(kills))
	times := recoveries(outcomes, kills, l.goal)
	slices.Sort(times)
	return []finding{
		{what, fmt.Sprintf("%d of %d requests lost, %d wrong%s (%.0f/s)", t.lost(), t.all, t.wrong, t.example, rate),
			"0 lost, 0 wrong", t.lost() == 0 && t.wrong == 0},
		{fmt.Sprintf("recovery to a p99 within %v", l.goal), fmt.Sprintf("median %v, longest %v",
			round(times[len(times)/2]), round(times[len(times)-1])), "< 1s", times[len(times)-1] < time.Second},
	}, nil
}

// killTheOnlyOne kills the only instance, whose restart every request has the time to wait for.
func killTheOnlyOne(ctx context.Context, l *lab) ([]finding, error) {
	outcomes, kills, _, err := killing(ctx, l, "deadline: 5s\n"+steady, lifetime, l.lonelyKill)
	if err != nil {
		return nil, err
	}
	t := count(outcomes)
	return []finding{{
		fmt.Sprintf("the same with one instance, %d times, deadline 5s", len(kills)),
		fmt.Sprintf("%d of %d requests lost, %d wrong%s, slowest %v", t.lost(), t.all, t.wrong, t.example, round(percentile(outcomes, 1))),
		"0 lost, 0 wrong", t.lost() == 0 && t.wrong == 0,
	}}, nil
}

// killWithoutTime kills the only instance, whose restart nobody can wait for.
func killWithoutTime(ctx context.Context, l *lab) ([]finding, error) {
	outcomes, kills, _, err := killing(ctx, l, "deadline: 150ms\nbatching: {max_rows: 4}\noptions: {takes: 2ms, load: 500ms}\n", 6*time.Second, max(2, l.lonelyKill/5))
	if err != nil {
		return nil, err
	}
	t := count(outcomes)
	return []finding{{
		fmt.Sprintf("the same with deadlines of 150ms and a restart of 500ms, %d times", len(kills)),
		fmt.Sprintf("%d answered, %d refused with 503 and Retry-After, %d neither%s, %d wrong", t.ok, t.refused, t.other, t.example, t.wrong),
		"0 neither, 0 wrong", t.other == 0 && t.wrong == 0 && t.refused > 0,
	}}, nil
}

// killing kills the oldest instance n times under load, each time after a pause.
func killing(ctx context.Context, l *lab, modelYAML string, between time.Duration, n int) ([]outcome, []time.Time, float64, error) {
	s, err := l.serve(ctx, modelYAML)
	if err != nil {
		return nil, nil, 0, err
	}
	defer s.stop()
	load, rate, err := newClient(s).load7(ctx)
	if err != nil {
		return nil, nil, 0, err
	}
	kills, err := kill(ctx, s, between, n)
	return load.stop(), kills, rate, err
}

func kill(ctx context.Context, s *server, between time.Duration, n int) ([]time.Time, error) {
	var kills []time.Time
	var oldest []int
	instances := len(s.instances())
	for i := range n {
		pause(ctx, between)
		for _, pid := range s.instances() {
			if !slices.Contains(oldest, pid) {
				oldest = append(oldest, pid)
			}
		}
		kills = append(kills, time.Now())
		if err := syscall.Kill(oldest[0], syscall.SIGKILL); err != nil {
			return kills, fmt.Errorf("kill %d of %v: %w", i, oldest, err)
		}
		oldest = oldest[1:]
		err := s.until(ctx, 20*time.Second, func(m map[string]float64) bool {
			return m[restarts] == float64(i+1) && m[liveInstances] == float64(instances)
		})
		if err != nil {
			return kills, err
		}
	}
	pause(ctx, time.Second)
	return kills, nil
}

// recoveries returns after how long, after every kill, the p99 of a tenth of a second was within
// the goal again.
func recoveries(outcomes []outcome, kills []time.Time, goal time.Duration) []time.Duration {
	var all []time.Duration
	for i, kill := range kills {
		end := kill.Add(lifetime)
		if i+1 < len(kills) {
			end = kills[i+1]
		}
		all = append(all, recovery(outcomes, kill, end, goal))
	}
	return all
}

const window = 100 * time.Millisecond

// recovery skips the windows before the kill is felt, of which there may be a few.
func recovery(outcomes []outcome, kill, end time.Time, goal time.Duration) time.Duration {
	felt := false
	for from := kill; !from.Add(window).After(end); from = from.Add(window / 10) {
		due := outcomes[firstDue(outcomes, from):firstDue(outcomes, from.Add(window))]
		fine := len(due) > 0 && percentile(due, 0.99) <= goal
		if felt && fine {
			return from.Sub(kill)
		}
		felt = felt || !fine
		if !felt && from.Sub(kill) > 3*window {
			return 0
		}
	}
	return end.Sub(kill)
}

func firstDue(outcomes []outcome, from time.Time) int {
	return sort.Search(len(outcomes), func(i int) bool { return !outcomes[i].due.Before(from) })
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
