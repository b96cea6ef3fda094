package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/thrumserve/thrum/loadtest/facts"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/schedule"
	"github.com/thrumserve/thrum/loadtest/stats"
)

const (
	soakRate  = 200
	soakTime  = 10 * time.Minute
	leak      = 1e6 // bytes a minute
	shortSoak = 75 * time.Second
	shortLeak = 20 * leak
)

func serveHealthy(ctx context.Context) error   { return serveLeaking(ctx, 0) }
func serveLeaky(ctx context.Context) error     { return serveLeaking(ctx, leak) }
func serveVeryLeaky(ctx context.Context) error { return serveLeaking(ctx, shortLeak) }

// serveLeaking answers with garbage for the collector to find, beside a heap of 40 MB, and keeps so
// many bytes a minute for ever.
func serveLeaking(ctx context.Context, perMinute int) error {
	heap := touched(40 << 20)
	var kept [][]byte
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if perMinute > 0 {
				kept = append(kept, touched(perMinute/600))
			}
		}
	}()
	var mu sync.Mutex
	var garbage []byte
	err := serveHTTP(ctx, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		mu.Lock()
		garbage = touched(64 << 10)
		mu.Unlock()
		fmt.Fprint(w, "{}")
	})
	runtime.KeepAlive(heap)
	runtime.KeepAlive(garbage)
	return err
}

// touched returns memory that the system has given.
func touched(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 512 {
		b[i] = 1
	}
	return b
}

// soakRow soaks a server that leaks and a healthy one, both at the same time.
func soakRow(ctx context.Context) (measured string, held bool, err error) {
	length, leaky := soakTime, "leaking server"
	if *short {
		length, leaky = shortSoak, "very leaking server"
	}
	roles := []string{leaky, "healthy server"}
	growths := make([]scenario.Growth, len(roles))
	errs := make([]error, len(roles))
	var soaks sync.WaitGroup
	for i, role := range roles {
		soaks.Go(func() { growths[i], errs[i] = soakOne(ctx, role, length) })
	}
	soaks.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", false, err
	}
	measured = fmt.Sprintf("in %v, leaking %s; healthy %s", length, growths[0], growths[1])
	// In a check run the healthy one has no time to show that it is.
	healthy := growths[1].Verdict == stats.Same || *short && growths[1].Verdict == stats.CannotTell
	return measured, growths[0].Verdict == stats.Changed && healthy, nil
}

// soakOne returns how the memory of a role's process grows under load.
func soakOne(ctx context.Context, role string, length time.Duration) (g scenario.Growth, err error) {
	server, err := startRole(ctx, role, 1)
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	watched, stop := context.WithCancel(ctx)
	var samples []scenario.Sample
	var watch sync.WaitGroup
	watch.Go(func() {
		samples = scenario.Watch(watched, func(context.Context) (scenario.Sample, bool) {
			f, err := facts.OfProcess(server.command.Process.Pid)
			return scenario.Sample{Memory: float64(f.Memory)}, err == nil
		})
	})
	run, err := attackProfile(ctx, server.address, schedule.Poisson(soakRate, length), 1)
	stop()
	watch.Wait()
	if err != nil {
		return g, err
	}
	if all := run.Total(); all.Count(result.OK) != all.Total() {
		return g, fmt.Errorf("the %s answered %d of %d requests", role, all.Count(result.OK), all.Total())
	}
	growths := scenario.Soak(samples)
	if len(growths) == 0 {
		return g, fmt.Errorf("nothing is known of the memory of the %s", role)
	}
	return growths[0], nil
}
