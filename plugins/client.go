package plugins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/proto"
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
}

func (c *client) info(ctx context.Context) (backends.Info, error) {
	reply, err := call(ctx, c, c.control.Info, &proto.InfoRequest{})
	return fromInfo(reply), err
}

func (c *client) load(ctx context.Context, spec backends.Spec) (*model, error) {
	reply, err := call(ctx, c, c.control.Load, toSpec(spec))
	if err != nil {
		return nil, err
	}
	signature, err := fromSignature(reply.GetSignature())
	if err == nil {
		err = checkSignature(signature)
	}
	m := &model{client: c, handle: reply.GetHandle(), signature: signature}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("plugin %s gave model %s a bad signature: %w", c.name, spec.Model, err), m.Close())
	}
	return m, nil
}

// model is a model in the plugin. The tensors of its predictions cross in exchange and
// nowhere else.
type model struct {
	*client
	handle    uint64
	signature backends.Signature

	close  sync.Once
	closed atomic.Bool
	err    error // of the first Close
}

func (m *model) Signature() backends.Signature { return m.signature }

// Predict checks the answer as far as the signature goes: what comes back from a plugin is
// no more to be trusted than what comes from a client.
func (m *model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	if m.closed.Load() {
		return backends.Batch{}, backends.Errorf(backends.ErrUnavailable, "the model is closed")
	}
	if err := m.signature.Check(in); err != nil {
		return backends.Batch{}, err
	}
	out, err := m.exchange(ctx, in)
	if err != nil {
		return backends.Batch{}, err
	}
	if err := checkAnswer(m.signature, in, out); err != nil {
		return backends.Batch{}, fmt.Errorf("plugin %s answered wrongly: %w", m.name, err)
	}
	return out, nil
}

func (m *model) exchange(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	if n := dataBytes(in); n > maxDataBytes {
		return backends.Batch{}, backends.Errorf(backends.ErrTooLarge, "%d bytes of tensors, at most %d: send fewer rows", n, maxDataBytes)
	}
	reply, err := call(ctx, m.client, m.tensors.Predict, toBatch(m.handle, in))
	if err != nil {
		return backends.Batch{}, err
	}
	return fromAnswer(reply)
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
func (m *model) Close() error {
	m.close.Do(func() {
		m.closed.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), unloadTimeout)
		defer cancel()
		_, err := call(ctx, m.client, m.control.Unload, &proto.UnloadRequest{Handle: m.handle})
		if m.gone() == nil {
			m.err = err
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
