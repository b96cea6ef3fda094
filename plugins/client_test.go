package plugins

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/proto"
)

// control is a plugin that says what it likes.
type control struct {
	proto.ControlClient
	reply    *proto.LoadReply
	unloaded []uint64
}

func (c *control) Load(context.Context, *proto.LoadRequest, ...grpc.CallOption) (*proto.LoadReply, error) {
	return c.reply, nil
}

func (c *control) Unload(_ context.Context, r *proto.UnloadRequest, _ ...grpc.CallOption) (*proto.UnloadReply, error) {
	c.unloaded = append(c.unloaded, r.Handle)
	return &proto.UnloadReply{}, nil
}

func TestClientTrustsNoSignature(t *testing.T) {
	input := func(s *proto.TensorSpec) *proto.Signature {
		return &proto.Signature{Batched: true, Inputs: []*proto.TensorSpec{s}}
	}
	for name, signature := range map[string]*proto.Signature{
		"no datatype":          input(&proto.TensorSpec{Name: "x", Shape: []int64{-1}}),
		"a dimension below -1": input(&proto.TensorSpec{Name: "x", Datatype: "FP32", Shape: []int64{-1, -2}}),
		"batched without rows": input(&proto.TensorSpec{Name: "x", Datatype: "FP32", Shape: []int64{3}}),
		"no name":              input(&proto.TensorSpec{Datatype: "FP32", Shape: []int64{-1}}),
	} {
		plugin := &control{reply: &proto.LoadReply{Handle: 7, Signature: signature}}
		c := &client{control: plugin, name: "cpu", gone: func() error { return nil }}
		m, err := c.load(t.Context(), backends.Spec{Model: "digits"})
		if err == nil || !strings.Contains(err.Error(), "cpu") || m != nil {
			t.Errorf("%s: load = %v, %v, want an error that names the plugin", name, m, err)
		}
		if len(plugin.unloaded) != 1 || plugin.unloaded[0] != 7 {
			t.Errorf("%s: unloaded %v, want the model that cannot be used", name, plugin.unloaded)
		}
	}
}
