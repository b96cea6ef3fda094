// Package plugins runs a backend in a process of its own. A plugin's main is Serve; the
// process that starts it calls Start and gets a backends.Backend that cannot be told from one
// in the same process, except that it survives what kills the other side: a crash, a leak or
// a hang of a plugin costs its own process and nothing else.
//
// The process is started by go-plugin and spoken to over gRPC on a Unix socket that only the
// two of them can reach. Tensors do not go that way where both can map the same memory: a batch
// is laid where the backend reads it, and its answer is read where it was written. A plugin lives exactly as long as its host: it goes when the host
// closes it, and it goes when the host dies, however suddenly.
package plugins

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/thrumserve/thrum/plugins/proto"
)

// ProtocolVersion is the version of the conversation between host and plugin. Both sides
// must have the same.
const ProtocolVersion = 1

// MaxMessageBytes bounds what one call may carry in either direction: all tensors of a batch
// together. gRPC's own default, 4 MiB, is less than a batch of images.
const MaxMessageBytes = 1 << 30

// windowBytes is gRPC's flow control window: large enough that a batch of a few MiB crosses
// without waiting for the peer to make room.
const windowBytes = 4 << 20

// pluginName is what go-plugin calls the one thing that a plugin of ours serves.
const pluginName = "backend"

const (
	cookieKey   = "THRUM_PLUGIN"
	cookieValue = "a backend to be started by its host"
)

func handshake(version uint) goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion:  version,
		MagicCookieKey:   cookieKey,
		MagicCookieValue: cookieValue,
	}
}

// glue is what go-plugin needs to know: how to register the service and how to call it.
type glue struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server // nil in the host
}

func (g *glue) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	proto.RegisterControlServer(s, g.server)
	proto.RegisterTensorsServer(s, g.server)
	return nil
}

func (g *glue) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

func plugins(s *server) goplugin.PluginSet {
	return goplugin.PluginSet{pluginName: &glue{server: s}}
}

// newGRPCServer replaces go-plugin's, which refuses what is larger than 4 MiB.
func newGRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
		grpc.UnaryInterceptor(recoverPanics),
	)...)
}

func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(MaxMessageBytes),
			grpc.MaxCallSendMsgSize(MaxMessageBytes),
		),
		grpc.WithInitialWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(windowBytes),
	}
}
