package plugins

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/thrumserve/thrum/backends"
)

// hostFD is the read end of a pipe whose other end the host holds. Nothing is ever written
// to it; its end of file says that the host is gone.
const hostFD = 3

// Serve is the whole main of a plugin: it answers a host with b until the host closes the
// plugin, and then closes b. It returns only to end the process, and ends it at once, b busy
// or not, when the host dies. What the process logs through slog from then on arrives in the
// host's log.
//
// The batch that a model is given may lie in memory that is the host's again once Predict has
// returned: what the model keeps of it longer it must copy.
//
// A plugin ignores SIGTERM and SIGINT: those who send them to every process of a service at
// once want the host to drain first, and the plugin has to be there for that.
func Serve(b backends.Backend) { serve(b, ProtocolVersion) }

func serve(b backends.Backend, version uint) {
	slog.SetDefault(newPluginLog(os.Stderr))
	srv := newServer(b)
	if os.Getenv(cookieKey) == cookieValue { // else go-plugin explains what a plugin is, and exits
		signal.Ignore(syscall.SIGTERM)
		exitWithHost()
		srv.share()
		srv.weights, srv.locker = inherited(weightsKey, weightsFD), inherited(lockerKey, lockerFD)
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: handshake(version),
		Plugins:         plugins(srv),
		GRPCServer:      newGRPCServer,
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: os.Stderr, JSONFormat: true}),
	})
	if err := b.Close(); err != nil {
		slog.Error("closing the backend failed", "error", err)
	}
}

// Sharer is a Backend that is told of the memory in which batches arrive, such as to pin it for a device.
// end is called before the memory goes, when no batch is computed in it.
type Sharer interface {
	Share(mem []byte) (end func())
}

// Meter is a Backend that has devices which say something of themselves. Devices returns those on which
// models are loaded. It may be asked at any time and as often as anybody likes: it returns within half a
// second, whatever the devices do, and disturbs nobody.
type Meter interface {
	Devices(ctx context.Context) ([]backends.Device, error)
}

// Placer is a Model that writes an answer where it is to be read, and so saves a copy. PredictInto is as
// Predict; before it computes it may ask place, once, for the data of the answer's tensors, whose names,
// datatypes, none of them BYTES, and shapes it knows by then. place returns false where there is no room
// for them; the answer may lie elsewhere then, and wherever else the model likes.
type Placer interface {
	PredictInto(ctx context.Context, in backends.Batch, place func(tensors []backends.Tensor) bool) (backends.Batch, error)
}

// share offers the host the memory that it has offered.
func (s *server) share() {
	memory, err := openMemory()
	if err != nil {
		slog.Warn("tensors cross by gRPC: the host's memory cannot be shared", "error", err)
		return
	}
	s.memory = memory
	if b, ok := s.backend.(Sharer); ok && memory != nil {
		memory.Watch(b.Share)
	}
	s.working = func(err error) {
		if err != nil {
			slog.Error("the host cannot be served any more", "error", err)
			os.Exit(1)
		}
	}
}

// exitWithHost ends this process when the host has ended.
func exitWithHost() {
	var stat syscall.Stat_t
	if err := syscall.Fstat(hostFD, &stat); err != nil || stat.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		fmt.Fprintf(os.Stderr, "file descriptor %d is not the host's pipe: start this plugin from its host\n", hostFD)
		os.Exit(1)
	}
	syscall.CloseOnExec(hostFD)
	host := os.NewFile(hostFD, "host")
	go func() {
		_, _ = io.Copy(io.Discard, host)
		os.Exit(1)
	}()
}
