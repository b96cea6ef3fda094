package plugins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/proto"
	"github.com/thrumserve/thrum/plugins/shm"
)

// maxDataBytes leaves room in a message for names, shapes and parameters.
const maxDataBytes = MaxMessageBytes - 1<<20

// unloadTimeout bounds how long closing a model waits for its calls under way.
const unloadTimeout = 10 * time.Second

// client is the host's side of the conversation. It knows nothing of processes but whether
// its own is gone.
type client struct {
	control proto.ControlClient
	tensors proto.TensorsClient
	name    string
	gone    func() error           // an ErrUnavailable once the plugin has ended or is being closed
	lost    func(how string) error // why a call under way has lost its connection
	broke   func(how error) error  // ends a plugin that does what none may; what its calls fail with

	metered   bool      // it answers Devices
	memory    *shm.Host // nil where tensors cross by gRPC
	maxMemory int       // of a model
}

// Transport says how tensors cross: TransportShared or TransportGRPC.
func (c *client) Transport() string {
	if c.memory == nil {
		return TransportGRPC
	}
	return TransportShared
}

// Metered says whether there are devices that say something of themselves.
func (c *client) Metered() bool { return c.metered }

// Devices returns the devices on which the plugin has models, none if it is not Metered. ctx should
// bound the wait.
func (c *client) Devices(ctx context.Context) ([]backends.Device, error) {
	if !c.metered {
		return nil, nil
	}
	reply, err := call(ctx, c, c.control.Devices, &proto.DevicesRequest{})
	if err != nil {
		return nil, err
	}
	all := each(reply.GetDevices(), fromDevice)
	if err := checkDevices(all); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", c.name, err)
	}
	return all, nil
}

func (c *client) info(ctx context.Context) (backends.Info, error) {
	reply, err := call(ctx, c, c.control.Info, &proto.InfoRequest{})
	return fromInfo(reply), err
}

func (c *client) load(ctx context.Context, spec backends.Spec) (*Model, error) {
	reply, err := call(ctx, c, c.control.Load, toSpec(spec))
	if err != nil {
		return nil, err
	}
	signature, err := fromSignature(reply.GetSignature())
	if err == nil {
		err = checkSignature(signature)
	}
	m := &Model{client: c, handle: reply.GetHandle(), signature: signature}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("plugin %s gave model %s a bad signature: %w", c.name, spec.Model, err), m.Close())
	}
	if c.memory != nil {
		if m.shared, err = newShared(c.memory, m.handle, signature, spec.MaxRows, c.maxMemory); err != nil {
			return nil, errors.Join(backends.Errorf(backends.ErrUnavailable, "plugin %s: memory for model %s: %w", c.name, spec.Model, err), m.Close())
		}
	}
	return m, nil
}

// Model is a model in a plugin. The tensors of its predictions cross in exchange and nowhere
// else. Answers may have a Lease.
type Model struct {
	*client
	handle    uint64
	signature backends.Signature
	shared    *shared // nil where tensors cross by gRPC

	close  sync.Once
	closed atomic.Bool
	err    error // of the first Close
}

// Signature implements backends.Model.
func (m *Model) Signature() backends.Signature { return m.signature }

// Predict implements backends.Predictor.
func (m *Model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	return m.PredictJoined(ctx, []backends.Batch{in})
}

// PredictJoined implements backends.Joiner: each part is copied once, to where the plugin reads
// it. A plugin that answers what cannot be an answer is ended, and its calls fail with
// ErrCrashed: nothing that it says is believed any more.
func (m *Model) PredictJoined(ctx context.Context, parts []backends.Batch) (backends.Batch, error) {
	if m.closed.Load() {
		return backends.Batch{}, backends.Errorf(backends.ErrUnavailable, "the model is closed")
	}
	if err := ctx.Err(); err != nil {
		return backends.Batch{}, err
	}
	for _, part := range parts {
		if err := m.signature.Check(part); err != nil {
			return backends.Batch{}, err
		}
	}
	if m.shared == nil {
		return m.exchange(ctx, backends.Join(parts))
	}
	if err := checkJoinable(parts); err != nil {
		return backends.Batch{}, err
	}
	if err := m.gone(); err != nil {
		return backends.Batch{}, err
	}
	out, err := m.shared.exchange(ctx, &m.signature, parts)
	if err != nil {
		return backends.Batch{}, m.explain(ctx, err)
	}
	return out, nil
}

// checkJoinable reports parts whose rows do not fit together, as PredictJoined asks of its caller.
func checkJoinable(parts []backends.Batch) error {
	for _, part := range parts[1:] {
		if !slices.EqualFunc(parts[0].Tensors, part.Tensors, func(a, b backends.Tensor) bool {
			return a.Name == b.Name && len(a.Shape) > 0 && slices.Equal(a.Shape[1:], b.Shape[1:])
		}) {
			return fmt.Errorf("joined batches differ in more than their rows")
		}
	}
	return nil
}

// explain turns an error of shared memory into one of package backends.
func (m *Model) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errAnswer):
		return m.broke(err)
	case errors.Is(err, shm.ErrTooLarge):
		return backends.Errorf(backends.ErrTooLarge, "%w: send fewer rows", err)
	case errors.Is(err, shm.ErrClosed):
		return cmp.Or(m.gone(), backends.Errorf(backends.ErrUnavailable, "plugin %s: %w", m.name, err))
	case ctx.Err() != nil:
		return fmt.Errorf("plugin %s: %w", m.name, ctx.Err())
	case errors.Is(err, context.Canceled): // but not by us
		return backends.Errorf(backends.ErrUnavailable, "plugin %s: %s", m.name, err)
	}
	return err
}

// exchange sends a batch in a message. The answer is checked as far as the signature goes: what
// comes back from a plugin is no more to be trusted than what comes from a client.
func (m *Model) exchange(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	if n := dataBytes(in); n > maxDataBytes {
		return backends.Batch{}, backends.Errorf(backends.ErrTooLarge, "%d bytes of tensors, at most %d: send fewer rows", n, maxDataBytes)
	}
	reply, err := call(ctx, m.client, m.tensors.Predict, toBatch(m.handle, in))
	if err != nil {
		return backends.Batch{}, err
	}
	out, err := fromAnswer(reply)
	if err == nil {
		err = checkAnswer(m.signature, in.Outputs, in.Rows(), out)
	}
	if err != nil {
		return backends.Batch{}, m.broke(fmt.Errorf("%w: %v", errAnswer, err)) // not %w: its fault, whatever is wrong
	}
	return out, nil
}

// Profile has the plugin compute a batch of that many rows of zeros so many times, one after the
// other, and returns how long each took, without the way there and back.
func (m *Model) Profile(ctx context.Context, rows, times int) ([]time.Duration, error) {
	reply, err := call(ctx, m.client, m.control.Profile, &proto.ProfileRequest{Handle: m.handle, Rows: int64(rows), Times: int64(times)})
	if err != nil {
		return nil, err
	}
	return each(reply.GetNanoseconds(), func(n int64) time.Duration { return time.Duration(n) }), nil
}

func dataBytes(b backends.Batch) int {
	n := 0
	for _, t := range b.Tensors {
		n += len(t.Data)
	}
	return n
}

// Close frees the model in the plugin, which lets its calls under way return first. A plugin
// that has ended has freed it already.
func (m *Model) Close() error {
	m.close.Do(func() {
		m.closed.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), unloadTimeout)
		defer cancel()
		_, err := call(ctx, m.client, m.control.Unload, &proto.UnloadRequest{Handle: m.handle})
		if m.gone() == nil {
			m.err = err
		}
		if m.shared != nil {
			m.shared.pool.Close()
		}
	})
	return m.err
}

// call sends one request and turns its failure into an error of package backends.
func call[Request, Reply any](ctx context.Context, c *client, rpc func(context.Context, *Request, ...grpc.CallOption) (*Reply, error), req *Request) (*Reply, error) {
	if err := c.gone(); err != nil {
		return nil, err
	}
	reply, err := rpc(ctx, req)
	if err == nil {
		return reply, nil
	}
	if ended := ctx.Err(); ended != nil {
		return nil, fmt.Errorf("plugin %s: %w", c.name, ended)
	}
	switch text := status.Convert(err).Message(); status.Code(err) {
	case codes.Unavailable:
		return nil, c.lost(text)
	case codes.Canceled: // but not by us: the connection is being closed, or the plugin gave up
		return nil, cmp.Or(c.gone(), backends.Errorf(backends.ErrUnavailable, "plugin %s: %s", c.name, text))
	}
	return nil, fromStatus(err)
}
