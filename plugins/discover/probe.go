package discover

import (
	"context"
	"errors"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins"
)

// probeTimeout is enough for a backend that has to find its device first.
const probeTimeout = 30 * time.Second

// Info is what a backend says of itself, and how it is spoken to.
type Info struct {
	backends.Info
	API       int    // the version of the protocol between host and plugin
	Transport string // how tensors cross: "shm" or "grpc"
}

// Probe starts a backend, asks it what it is and ends it, all within half a minute. The error of
// one that does not start is its own last line, or says what is wrong with it.
func Probe(ctx context.Context, cmd plugins.Command, o plugins.Options) (Info, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, errors.New("it did not answer within 30 s"))
	defer cancel()
	p, err := plugins.Start(ctx, cmd, o)
	if err != nil {
		return Info{}, cause(ctx, err)
	}
	info, err := p.Info(ctx)
	err = errors.Join(cause(ctx, err), p.Close())
	return Info{Info: info, API: plugins.ProtocolVersion, Transport: p.Transport()}, err
}

// cause says why ctx ended if that is what err is about.
func cause(ctx context.Context, err error) error {
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}
