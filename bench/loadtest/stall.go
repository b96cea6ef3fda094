package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// stallRow sends at a constant rate to a server that answers at once but for one stall. Whatever is
// meant to start within the stall waits for its end, so the slowest of all answers are those of the
// beginning of the stall: a share q of all is not slower than stall − (1 − q) · duration. That the
// server needs some 20 ms to answer all who have waited is not in the truth; it is seen at p90.
func stallRow(ctx context.Context) (measured string, held bool, err error) {
	const rate, duration = 200, 10 * time.Second
	server, err := startRole(ctx, "stall server", 1)
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	profile, err := schedule.Constant(rate, duration).Schedule(1)
	if err != nil {
		return "", false, err
	}
	run, err := attack.Run(ctx, attack.Options{Target: target(server.address), Requests: []attack.Request{smallBinary()}, Schedule: profile})
	if err != nil {
		return "", false, err
	}
	found := run.Steps[0].Intended(result.OK).Quantiles(.9, .99, .999)
	for i, q := range []float64{.9, .99, .999} {
		truth := stall - time.Duration((1-q)*float64(duration))
		off := 100 * (found[i].Seconds()/truth.Seconds() - 1)
		if i > 0 {
			measured += ", "
		}
		measured += fmt.Sprintf("p%g %.0f ms (truth %.0f ms, %+.1f %%)", q*100, found[i].Seconds()*1e3, truth.Seconds()*1e3, off)
		if q == .99 {
			held = math.Abs(off) <= 5
		}
	}
	for _, reason := range run.Invalid {
		measured, held = measured+"; invalid: "+reason, false
	}
	return measured, held, nil
}
