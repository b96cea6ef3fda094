// Command thrum-backend-fault is a backend that fails on command. Its models take x, INT64 of
// [-1, 2], an order and a number in each row, and give y, INT64 of [-1, 1]. Their option
// "takes" is how long a batch takes, one after the other, as on a device; "load" is how long a
// model takes to load.
package main

import (
	"context"
	"encoding/binary"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/bench/chaos/orders"
	"github.com/thrumserve/thrum/plugins"
)

func main() { plugins.Serve(&backend{}) }

type backend struct{}

func (*backend) Info(context.Context) (backends.Info, error) {
	return backends.Info{Name: "fault", Version: "1", Device: "none"}, nil
}

func (*backend) Close() error { return nil }

func (*backend) Load(ctx context.Context, spec backends.Spec) (backends.Model, error) {
	m := &model{}
	var load time.Duration
	for key, value := range spec.Options {
		into := map[string]*time.Duration{"takes": &m.takes, "load": &load}[key]
		d, err := time.ParseDuration(value)
		if into == nil || err != nil {
			return nil, backends.Errorf(backends.ErrInvalid, "option %s: %q: there are takes and load, durations", key, value)
		}
		*into = d
	}
	return m, sleep(ctx, load)
}

type model struct {
	device sync.Mutex // held by the batch that is computed, and guards what follows
	takes  time.Duration
	leaked [][]byte
}

func (*model) Signature() backends.Signature {
	return backends.Signature{
		Platform: "fault",
		Inputs:   []backends.TensorSpec{{Name: "x", Datatype: backends.Int64, Shape: []int64{-1, 2}}},
		Outputs:  []backends.TensorSpec{{Name: "y", Datatype: backends.Int64, Shape: []int64{-1, 1}}},
		Batched:  true,
	}
}

func (*model) Close() error { return nil }

func (m *model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	m.device.Lock()
	defer m.device.Unlock()
	x := in.Tensors[0].Data
	var y []byte
	for ; len(x) > 0; x = x[16:] {
		m.obey(orders.Order(binary.LittleEndian.Uint64(x)))
		y = binary.LittleEndian.AppendUint64(y, uint64(orders.Reply(int64(binary.LittleEndian.Uint64(x[8:])))))
	}
	if err := sleep(ctx, m.takes); err != nil {
		return backends.Batch{}, err
	}
	return spoiled(in, y), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// obey does what goes before an answer.
func (m *model) obey(order orders.Order) {
	switch order {
	case orders.Segfault:
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		select {}
	case orders.Exit:
		os.Exit(3)
	case orders.Hang:
		select {}
	case orders.Drag:
		m.takes *= 10
	case orders.Leak:
		page := make([]byte, 1<<20)
		for i := range page {
			page[i] = 1
		}
		m.leaked = append(m.leaked, page)
	case orders.Scribble:
		scribble(noise)
	case orders.Forge:
		scribble(forgery)
	}
}

// spoiled is the answer to in, of which y is right, as the orders in it want it.
func spoiled(in backends.Batch, y []byte) backends.Batch {
	t := backends.Tensor{Name: "y", Datatype: backends.Int64, Shape: []int64{int64(in.Rows()), 1}, Data: y}
	for x := in.Tensors[0].Data; len(x) > 0; x = x[16:] {
		switch orders.Order(binary.LittleEndian.Uint64(x)) {
		case orders.Short:
			t.Shape, t.Data = []int64{t.Shape[0] - 1, 1}, y[8:]
		case orders.Long:
			t.Shape, t.Data = []int64{t.Shape[0] + 1, 1}, append(y[:8:8], y...)
		case orders.Garbage:
			t = backends.Tensor{Name: "z", Datatype: backends.FP32, Shape: []int64{-3, 1 << 40}, Data: y[1:]}
		}
	}
	return backends.Batch{Tensors: []backends.Tensor{t}}
}
