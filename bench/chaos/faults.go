package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/thrumserve/thrum/bench/chaos/orders"
)

const twoSteady = "instances: 2\ndeadline: 5s\n" + steady

// under runs a test on two instances at 70 % load and returns what became of the good requests.
func under(ctx context.Context, l *lab, test func(s *server, c *client) error) (tally, []outcome, error) {
	s, err := l.serve(ctx, twoSteady)
	if err != nil {
		return tally{}, nil, err
	}
	defer s.stop()
	c := newClient(s)
	load, _, err := c.load7(ctx)
	if err != nil {
		return tally{}, nil, err
	}
	pause(ctx, lifetime)
	err = test(s, c)
	pause(ctx, lifetime)
	outcomes := load.stop()
	return count(outcomes), outcomes, err
}

// stopOne stops an instance, which to everybody else looks as if it hung.
func stopOne(ctx context.Context, l *lab) ([]finding, error) {
	var took time.Duration
	t, outcomes, err := under(ctx, l, func(s *server, _ *client) error {
		begin := time.Now()
		pids := s.instances()
		if len(pids) != 2 {
			return fmt.Errorf("instances are %v", pids)
		}
		if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
			return err
		}
		err := s.until(ctx, 10*time.Second, func(m map[string]float64) bool { return m[hangs] == 1 })
		took = time.Since(begin)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []finding{
		{"SIGSTOP of an instance of two, whose batches may take 1s", "killed after " + round(took).String(), "< 2s", took < 2*time.Second},
		{"good requests meanwhile", fmt.Sprintf("%d of %d lost, %d wrong%s, slowest %v", t.lost(), t.all, t.wrong, t.example, round(percentile(outcomes, 1))),
			"0 lost, 0 wrong", t.lost() == 0 && t.wrong == 0},
	}, nil
}

// hangByRequest sends a request that hangs whoever computes it.
func hangByRequest(ctx context.Context, l *lab) ([]finding, error) {
	var culprit outcome
	t, _, err := under(ctx, l, func(s *server, c *client) error {
		culprit = c.ask(ctx, orders.Hang)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []finding{
		{"a request that hangs the backend", culprit.String(), "500 in < 5s", culprit.status == 500 && culprit.took() < 5*time.Second},
		goodMeanwhile(t),
	}, nil
}

// goodMeanwhile is the finding that good requests did not suffer.
func goodMeanwhile(t tally) finding {
	return finding{"good requests meanwhile", fmt.Sprintf("%d of %d lost, %d wrong%s", t.lost(), t.all, t.wrong, t.example),
		"0 lost, 0 wrong", t.lost() == 0 && t.wrong == 0}
}

var digests = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// String says what became of a request, without the digest's digits.
func (o outcome) String() string {
	text := digests.ReplaceAllString(o.text, "sha256:…")
	if o.wrong {
		text = "a wrong answer"
	}
	return fmt.Sprintf("%d after %v %.60s", o.status, round(o.took()), text)
}

// spoilReplies has the backend answer with what nobody asked for.
func spoilReplies(ctx context.Context, l *lab) ([]finding, error) {
	var findings []finding
	for _, c := range []struct {
		what   string
		order  orders.Order
		target string
		held   func(o outcome, deaths float64) bool
	}{
		{"a reply with a row too few", orders.Short, "500", is500},
		{"a reply with a row too many", orders.Long, "500", is500},
		{"a reply of garbage", orders.Garbage, "500", is500},
		{"noise over the control region", orders.Scribble, "its answer, or 500", func(o outcome, _ float64) bool { return o.ok() || o.status == 500 }},
		{"forged replies in the control region", orders.Forge, "its answer, or 500, and killed", func(o outcome, deaths float64) bool { return (o.ok() || o.status == 500) && deaths > 0 }},
	} {
		var culprit outcome
		var deaths float64
		t, _, err := under(ctx, l, func(s *server, cl *client) error {
			culprit = cl.ask(ctx, c.order)
			pause(ctx, time.Second)
			m, err := s.metrics(restarts)
			deaths = m[restarts]
			return err
		})
		if err != nil {
			return nil, err
		}
		held := c.held(culprit, deaths) && culprit.took() < 2*time.Second
		findings = append(findings,
			finding{c.what, fmt.Sprintf("%v, %.0f deaths", culprit, deaths), c.target + " in < 2s", held}, goodMeanwhile(t))
	}
	return findings, nil
}

func is500(o outcome, _ float64) bool { return o.status == 500 }

// slowByTen makes one of two instances ten times slower, so that both together are too slow for
// the load: what cannot be answered has to be refused in time.
func slowByTen(ctx context.Context, l *lab) ([]finding, error) {
	t, outcomes, err := under(ctx, l, func(_ *server, c *client) error {
		if o := c.ask(ctx, orders.Drag); !o.ok() {
			return fmt.Errorf("the order to be slow: %v", o)
		}
		pause(ctx, 3*time.Second)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slowest := percentile(outcomes, 1)
	return []finding{{"an instance of two slower by 10 ×, deadline 5s",
		fmt.Sprintf("%d answered, %d refused in order, %d neither%s, %d wrong, slowest %v", t.ok, t.refused, t.other, t.example, t.wrong, round(slowest)),
		"0 neither, 0 wrong, all in < 10s", t.other == 0 && t.wrong == 0 && slowest < 10*time.Second}}, nil
}

// poisonOne mixes requests that crash the backend into good ones, and sends them again.
func poisonOne(ctx context.Context, l *lab) ([]finding, error) {
	var first, again []outcome
	var before, after map[string]float64
	t, _, err := under(ctx, l, func(s *server, c *client) (err error) {
		first = sendPoison(ctx, c)
		err = s.until(ctx, 20*time.Second, func(m map[string]float64) bool { before = m; return m[liveInstances] == 2 })
		if err != nil {
			return err
		}
		again = sendPoison(ctx, c)
		after, err = s.metrics(restarts, refused)
		return err
	})
	if err != nil {
		return nil, err
	}
	named, refusedAgain := 0, 0
	for i := range first {
		if first[i].status == 500 && digests.MatchString(first[i].text) {
			named++
		}
		if again[i].status == 500 && strings.Contains(again[i].text, "quarantine") {
			refusedAgain++
		}
	}
	deaths := after[restarts] - before[restarts]
	return []finding{
		{fmt.Sprintf("%d requests that crash the backend", poisons), fmt.Sprintf("%d × 500 with the request's digest (%v)", named, first[0]),
			"all", named == poisons},
		{"good requests meanwhile", fmt.Sprintf("%d of %d lost, %d wrong%s", t.lost(), t.all, t.wrong, t.example),
			"0 lost, 0 wrong", t.lost() == 0 && t.wrong == 0},
		{"the same requests again", fmt.Sprintf("%d refused, %.0f deaths", refusedAgain, deaths), "all, 0 deaths", refusedAgain == poisons && deaths == 0},
	}, nil
}

const poisons = 3

// sendPoison sends requests that end whoever computes them, by a signal and by an exit.
func sendPoison(ctx context.Context, c *client) []outcome {
	var outcomes []outcome
	base := int64(1) << 40 // no good request comes so far
	for i := range int64(poisons) {
		order := orders.Segfault
		if i%2 == 1 {
			order = orders.Exit
		}
		outcomes = append(outcomes, c.askNumber(ctx, order, base+i, time.Now()))
		pause(ctx, lifetime)
	}
	return outcomes
}

// killTheHost kills the server and looks for what it leaves behind.
func killTheHost(ctx context.Context, l *lab) ([]finding, error) {
	s, err := l.serve(ctx, twoSteady)
	if err != nil {
		return nil, err
	}
	c := newClient(s)
	load := c.pace(200)
	pause(ctx, time.Second)
	pids := s.instances()
	s.kill()
	pause(ctx, time.Second)
	load.stop()
	left := 0
	for _, pid := range pids {
		if alive(pid) {
			left++
		}
	}
	return []finding{{"SIGKILL of the host", fmt.Sprintf("%d of %d plugin processes left after 1s", left, len(pids)),
		"0", left == 0 && len(pids) == 2}}, nil
}
