//go:build !linux

package attack

import (
	"context"
	"time"
)

// attackHTTP drives the server as any other target.
func attackHTTP(ctx context.Context, s *session, _ *wire) (use float64, err error) {
	return attackTarget(ctx, s)
}

func newSleeper() sleeper { return newTimer() }

func sharp() (blunt func()) { return func() {} }

// threadCPU and processCPU are not known here.
func threadCPU() time.Duration  { return 0 }
func processCPU() time.Duration { return 0 }
