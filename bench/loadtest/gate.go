package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/schedule"
	"github.com/thrumserve/thrum/loadtest/stage"
)

// short makes the long rows so short that they only show whether they run.
var short = flag.Bool("short", false, "a check run: the rows gate and soak take a minute and prove nothing")

// The builds that the gate is shown answer after a time that is distributed as those of servers
// are, lognormally, with a p99 of 1.6 times the median. With 1,500 requests a run, p99 scatters by
// 2 % from run to run, so that ten runs an arm mostly tell 5 %.
const (
	gateMedian = 20 * time.Millisecond
	gateSpread = 0.2
	gateRate   = 2000
	gateRun    = 750 * time.Millisecond
	regression = 0.05
)

func serveBaseline(ctx context.Context) error  { return serveAfter(ctx, 1) }
func serveRegressed(ctx context.Context) error { return serveAfter(ctx, 1+regression) }

// serveAfter answers after a random time, slower times as long.
func serveAfter(ctx context.Context, slower float64) error {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(os.Getpid())))
	return serveHTTP(ctx, func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		mu.Lock()
		normal := random.NormFloat64()
		mu.Unlock()
		d := time.Duration(float64(gateMedian) * slower * math.Exp(gateSpread*normal))
		time.Sleep(time.Until(begin.Add(d)))
		fmt.Fprint(w, "{}")
	})
}

// serveHTTP serves on a port that it prints, until standard input ends.
func serveHTTP(ctx context.Context, answer http.HandlerFunc) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := &http.Server{Handler: answer, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = s.Close()
	}()
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// gateRow shows the gate builds with and without a regression.
func gateRow(ctx context.Context) (measured string, held bool, err error) {
	trials := 20
	if *short {
		trials = 2
	}
	count := map[string]map[scenario.Verdict]int{}
	for _, candidate := range []string{"regressed build", "baseline build"} {
		count[candidate] = map[scenario.Verdict]int{}
		for i := range trials {
			var v scenario.Verdict
			for try := range uint64(3) { // one that cannot be believed is no trial
				if v, err = gateTrial(ctx, candidate, uint64(i)<<8+try); err != nil {
					return "", false, err
				}
				if v != scenario.Invalid {
					break
				}
			}
			count[candidate][v]++
		}
	}
	with, without := count["regressed build"], count["baseline build"]
	caught, accused := with[scenario.Fail], trials-without[scenario.Pass]
	measured = fmt.Sprintf("caught %d of %d; false alarms %d of %d", caught, trials, accused, trials)
	for name, verdicts := range map[string]map[scenario.Verdict]int{"with": with, "without": without} {
		if n := verdicts[scenario.Unstable] + verdicts[scenario.Invalid]; n > 0 {
			measured += fmt.Sprintf(" (%s: %d cannot tell, %d invalid)", name, verdicts[scenario.Unstable], verdicts[scenario.Invalid])
		}
	}
	return measured, caught*20 >= 19*trials && accused*20 <= trials, nil
}

// gateTrial stages a candidate beside the baseline build: ten runs of each in turns, up to twenty while it
// cannot be told.
func gateTrial(ctx context.Context, candidate string, seed uint64) (v scenario.Verdict, err error) {
	var urls [2]string
	for i, role := range []string{"baseline build", candidate} {
		server, err := startRole(ctx, role, 1)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, server.stop()) }()
		urls[i] = server.address
	}
	plan := stage.Plan{
		Model: "any", Forecast: gateRate, Arrivals: "poisson", Seed: seed,
		Baseline:  &stage.Build{URL: urls[0], Ready: time.Second},
		Candidate: &stage.Build{URL: urls[1], Ready: time.Second},
		Compare:   &stage.Compare{Runs: 10, Most: 20, Length: gateRun, Share: 1, Latency: 0.05, Throughput: 0.03},
		Goals:     stage.Goals{Latency: scenario.Goal{Percentile: 0.99, Limit: 10 * gateMedian}},
	}
	_, v, err = stage.Run(ctx, plan, stage.Options{
		Ready: func(context.Context, string) error { return nil },
		Attack: func(ctx context.Context, a stage.Attack) (*result.Run, error) {
			return attackProfile(ctx, a.URL, a.Profile, a.Seed)
		},
	})
	return v, err
}

func attackProfile(ctx context.Context, address string, p schedule.Profile, seed uint64) (*result.Run, error) {
	made, err := p.Schedule(seed)
	if err != nil {
		return nil, err
	}
	return attack.Run(ctx, attack.Options{Target: target(address), Requests: []attack.Request{smallBinary()}, Schedule: made})
}
