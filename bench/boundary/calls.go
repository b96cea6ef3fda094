package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins"
	"github.com/thrumserve/thrum/plugins/shm"
)

// sizes are the inputs that are sent, in bytes: a row of features, a batch of images.
var sizes = []struct {
	name   string
	values int // FP32
	bound  float64
}{
	{"4 KB", 1024, 0.10},
	{"602 KB", 150_528, 0.03},
}

const callers = 64

// calls are the processes that answer calls.
type calls struct {
	shared, grpc *plugins.Process
	echo         *echo
}

func openCalls(ctx context.Context) (*calls, error) {
	c := &calls{}
	err := c.open(ctx)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *calls) open(ctx context.Context) (err error) {
	if c.shared, err = startPlugin(ctx, plugins.TransportShared); err != nil {
		return err
	}
	if c.grpc, err = startPlugin(ctx, plugins.TransportGRPC); err != nil {
		return err
	}
	c.echo, err = startEcho(shm.SpinAdaptively)
	return err
}

func (c *calls) close() error {
	var errs []error
	if c.shared != nil {
		errs = append(errs, c.shared.Close())
	}
	if c.grpc != nil {
		errs = append(errs, c.grpc.Close())
	}
	if c.echo != nil {
		c.echo.close()
	}
	return errors.Join(errs...)
}

func startPlugin(ctx context.Context, transport string) (*plugins.Process, error) {
	command := plugins.Command{Path: self(), Env: append(os.Environ(), roleKey+"=plugin")}
	return plugins.Start(ctx, command, plugins.Options{Name: "null", Transport: transport, Log: slog.New(slog.DiscardHandler)})
}

func (c *calls) compare(ctx context.Context, o options, table io.Writer) error {
	for _, size := range sizes {
		options := map[string]string{"inputs": strconv.Itoa(size.values), "outputs": "1"}
		spec := backends.Spec{Model: "null", Options: options, MaxRows: 1}
		ours, err := c.shared.Load(ctx, spec)
		if err != nil {
			return err
		}
		base, err := c.grpc.Load(ctx, spec)
		if err != nil {
			return err
		}
		in := backends.Batch{Tensors: []backends.Tensor{{
			Name: "x", Datatype: backends.FP32, Shape: []int64{1, int64(size.values)}, Data: make([]byte, 4*size.values),
		}}}
		viaGRPC := side{"gRPC", []int{c.grpc.PID()}, one(base, in)}
		err = compare(ctx, o, table, target{of: "one call, " + size.name + ", copied in", bound: size.bound},
			side{"shm", []int{c.shared.PID()}, one(ours, in)}, viaGRPC)
		if err != nil {
			return err
		}
		placed, err := c.echo.placed(ctx, 4*size.values)
		if err != nil {
			return err
		}
		err = compare(ctx, o, table, target{of: "one call, " + size.name + ", in place already", bound: size.bound},
			side{"shm", []int{c.echo.pid()}, placed}, viaGRPC)
		if err == nil && size.values == sizes[0].values {
			err = compare(ctx, o, table, target{of: fmt.Sprintf("%d callers, %s", callers, size.name), rate: true, bound: 10},
				side{"shm", []int{c.shared.PID()}, many(ours, in)}, side{"gRPC", []int{c.grpc.PID()}, many(base, in)})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compareMessages compares one message there and back with a bare ping-pong, in each way to wait.
func compareMessages(ctx context.Context, o options, table io.Writer) error {
	folder, err := os.MkdirTemp("", "boundary-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	program, err := compilePong(folder)
	if err != nil {
		return err
	}
	for _, way := range ways {
		if err := compareMessage(ctx, o, table, program, way.name, way.how); err != nil {
			return err
		}
	}
	return nil
}

func compareMessage(ctx context.Context, o options, table io.Writer, program, name string, how shm.Spinning) error {
	e, err := startEcho(how)
	if err != nil {
		return err
	}
	defer e.close()
	p, err := startPong(program, name)
	if err != nil {
		return err
	}
	defer p.close()
	placed, err := e.placed(ctx, 8)
	if err != nil {
		return err
	}
	return compare(ctx, o, table, target{of: "one message, " + name, bound: 1.5},
		side{"shm", []int{e.pid()}, placed}, side{"ping-pong in C", p.pids(), p.run})
}

// one makes calls one after the other.
func one(m backends.Model, in backends.Batch) func(context.Context, time.Duration) (int, time.Duration, error) {
	return func(ctx context.Context, d time.Duration) (int, time.Duration, error) {
		begin := time.Now()
		for n := 0; ; n++ {
			if n%16 == 0 && time.Since(begin) >= d {
				return n, time.Since(begin), nil
			}
			out, err := m.Predict(ctx, in)
			if err != nil {
				return n, 0, err
			}
			out.Release()
		}
	}
}

// many makes calls from many goroutines at once.
func many(m backends.Model, in backends.Batch) func(context.Context, time.Duration) (int, time.Duration, error) {
	return func(ctx context.Context, d time.Duration) (int, time.Duration, error) {
		counts, errs := make([]int, callers), make([]error, callers)
		begin := time.Now()
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() { counts[i], _, errs[i] = one(m, in)(ctx, d) })
		}
		all.Wait()
		took, total := time.Since(begin), 0
		for _, n := range counts {
			total += n
		}
		return total, took, errors.Join(errs...)
	}
}

// spinKey tells an echo how to wait.
const spinKey = "THRUM_BOUNDARY_SPIN"

// echo is a process that answers messages without a look at them.
type echo struct {
	host *shm.Host
	cmd  *exec.Cmd
}

func serveEcho() error {
	p, err := shm.Open(os.NewFile(3, "control"), os.NewFile(4, "socket"))
	if err != nil {
		return err
	}
	how, err := strconv.Atoi(os.Getenv(spinKey))
	if err != nil {
		return err
	}
	p.Spin(shm.Spinning(how))
	return p.Serve(1, func(context.Context, shm.Request) shm.Answer { return shm.Answer{} })
}

func startEcho(how shm.Spinning) (*echo, error) {
	host, err := shm.NewHost(func(err error) error { return err })
	if err != nil {
		return nil, err
	}
	host.Spin(how)
	defer host.CloseFiles()
	cmd := exec.Command(self())
	cmd.Env = append(os.Environ(), roleKey+"=echo", fmt.Sprintf("%s=%d", spinKey, how))
	cmd.ExtraFiles, cmd.Stderr = host.Files(), os.Stderr
	if err := cmd.Start(); err != nil {
		host.Close()
		return nil, err
	}
	return &echo{host, cmd}, nil
}

func (e *echo) pid() int { return e.cmd.Process.Pid }

func (e *echo) close() {
	e.host.Close()
	_ = e.cmd.Wait() // it ends with the connection
}

// placed sends the same bytes again and again, which lie in their slot from the beginning.
func (e *echo) placed(ctx context.Context, size int) (func(context.Context, time.Duration) (int, time.Duration, error), error) {
	pool := e.host.NewPool(16 << 20)
	if err := pool.Reserve(1, size); err != nil {
		return nil, err
	}
	return func(_ context.Context, d time.Duration) (int, time.Duration, error) {
		begin := time.Now()
		for n := 0; ; n++ {
			if n%16 == 0 && time.Since(begin) >= d {
				return n, time.Since(begin), nil
			}
			slot, err := pool.Acquire(ctx, size)
			if err == nil {
				_, err = slot.Call(ctx, 0, size)
			}
			if err != nil {
				return n, 0, err
			}
			slot.Release()
		}
	}, nil
}
