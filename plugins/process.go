package plugins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/proto"
	"github.com/thrumserve/thrum/plugins/shm"
)

// Command says which program is a plugin.
type Command struct {
	Path string
	Args []string // without the program's name
	Env  []string // as "key=value"; nil for the host's
}

func (c Command) environ() []string {
	if c.Env == nil {
		return os.Environ()
	}
	return c.Env
}

// Options says how to run a plugin. The zero value is good.
type Options struct {
	Name string       // for people, in errors and logs; the program's name if empty
	Log  *slog.Logger // where the plugin's log goes; slog.Default() if nil

	StartTimeout time.Duration // from starting the process to its first answer; 30 s if 0: a driver may take seconds to find each device
	InfoTimeout  time.Duration // for an Info whose context has no earlier deadline; 1 s if 0
	CloseTimeout time.Duration // for the plugin to end by itself when closed, at most 2 s; 2 s if 0

	// Checksum is the one that the program's file must have, as Checksum returns it; any if
	// empty. What is executed is the very file that was read for that, even if the path names
	// another by then; only who may write into that file can still change it. A script's
	// checksum is that of the script alone.
	Checksum string

	// AutoMTLS has host and plugin show each other a certificate, made for this start alone,
	// and encrypt what they say: nobody else can take the part of either. A start takes some
	// 10 ms longer. A plugin that cannot do it is refused.
	AutoMTLS bool

	Limits Limits

	// Transport is how tensors are to cross: TransportShared, for a plugin that can do no other
	// is refused; TransportGRPC; or, if empty, the first of these that both sides can do.
	Transport string

	// MaxMemory bounds the shared memory of one model, in bytes; 1 GiB if 0. A batch that does
	// not fit it is an ErrTooLarge.
	MaxMemory int

	// Weights, if not nil, is what weights.NewFile has made for all processes that load one model
	// with the same program: the backend finds it as backends.Spec.Weights. The caller keeps it.
	// Locker is what weights.NewLocker has made for them.
	Weights, Locker *os.File
}

func (o Options) check() error {
	if o.Checksum != "" {
		if err := CheckChecksum(o.Checksum); err != nil {
			return err
		}
	}
	if !slices.Contains([]string{"", TransportShared, TransportGRPC}, o.Transport) {
		return backends.Errorf(backends.ErrInvalid, "transport %q: use %q or %q", o.Transport, TransportShared, TransportGRPC)
	}
	return o.Limits.check()
}

func (o Options) withDefaults(cmd Command) Options {
	o.Name = cmp.Or(o.Name, filepath.Base(cmd.Path))
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("plugin", o.Name)
	o.StartTimeout = cmp.Or(o.StartTimeout, 30*time.Second)
	o.InfoTimeout = cmp.Or(o.InfoTimeout, time.Second)
	o.CloseTimeout = cmp.Or(o.CloseTimeout, 2*time.Second)
	o.MaxMemory = cmp.Or(o.MaxMemory, defaultMaxMemory)
	return o
}

// killTimeout is how long a killed process may take to end. It takes longer only where a
// system call cannot be interrupted, as in a driver that hangs.
const killTimeout = 5 * time.Second

// Process is a backend in a process of its own. Calls under way when the process dies fail at
// once with an error that is ErrCrashed and ErrUnavailable; later ones fail with an
// ErrUnavailable that says why it died. A Process is not started again.
type Process struct {
	*client
	options Options
	plugin  *goplugin.Client
	child   *child
	memory  *shm.Host // nil where tensors cross by gRPC

	closing chan struct{} // closed by the first Close
	watched chan struct{} // closed when the end of the process has been logged
	close   sync.Once
	err     error // of the first Close
}

// Start starts a plugin and waits until it answers. An error is an ErrUnavailable with the
// plugin's last words, an ErrInvalid if the options make no sense, or that of ctx. The process
// ends with Close, not with ctx.
func Start(ctx context.Context, cmd Command, o Options) (*Process, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults(cmd)
	p := &Process{
		options: o,
		child:   newChild(cmd, o),
		closing: make(chan struct{}),
		watched: make(chan struct{}),
	}
	var host identity
	if o.AutoMTLS {
		var err error
		if host, err = newIdentity(); err != nil {
			return nil, err
		}
	}
	if err := p.offerMemory(); err != nil {
		return nil, err
	}
	p.plugin = goplugin.NewClient(p.config(host))
	if err := p.start(ctx); err != nil {
		return nil, p.abandon(ctx, err)
	}
	o.Log.Info("plugin started", "pid", p.PID(), "tensors", p.Transport())
	go p.watch()
	return p, nil
}

func (p *Process) config(host identity) *goplugin.ClientConfig {
	return &goplugin.ClientConfig{
		HandshakeConfig:  handshake(ProtocolVersion),
		Plugins:          plugins(nil),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(), // what matters of it is in the errors
		GRPCDialOptions:  dialOptions(),
		TLSConfig:        host.config,
		StartTimeout:     p.options.StartTimeout,
		SkipHostEnv:      true, // the child adds it
		SyncStdout:       &lineLog{log: p.options.Log},
		SyncStderr:       &lineLog{log: p.options.Log},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			p.child.env, p.child.socketDir = slices.Concat(cmd.Env, host.environ()), socketDir
			if p.memory != nil {
				p.child.env = append(p.child.env, memoryKey+"="+memoryValue)
			}
			if p.options.Weights != nil {
				p.child.env = append(p.child.env, weightsKey+"="+weightsValue)
			}
			if p.options.Locker != nil {
				p.child.env = append(p.child.env, lockerKey+"="+weightsValue)
			}
			return p.child, checkSocketDir(socketDir)
		},
	}
}

// checkSocketDir reports a folder in which the plugin could not make its socket, whose name
// is the folder's and up to 18 bytes more.
func checkSocketDir(dir string) error {
	const most = len(syscall.RawSockaddrUnix{}.Path) - 1 - 18
	if len(dir) > most {
		return fmt.Errorf("%s is %d bytes long, at most %d fit a socket's address: set TMPDIR to a shorter folder", dir, len(dir), most)
	}
	return nil
}

func (p *Process) start(ctx context.Context) error {
	// Both sides are connected at the end of this, or never will be. The socket's file is not
	// needed again then, and once it is gone none is left behind, whoever dies.
	defer func() { _ = os.RemoveAll(p.child.socketDir) }()
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	p.client = &client{
		control: proto.NewControlClient(conn),
		tensors: proto.NewTensorsClient(conn),
		name:    p.options.Name,
		gone:    p.gone,
		lost:    p.lost,
		broke:   p.broke,

		maxMemory: p.options.MaxMemory,
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.StartTimeout)
	defer cancel()
	return p.negotiate(ctx)
}

// offerMemory makes the memory that the process is to inherit, unless there is to be none.
func (p *Process) offerMemory() error {
	if p.options.Transport == TransportGRPC {
		return nil
	}
	memory, err := shm.NewHost(p.broke)
	if err != nil && p.options.Transport == TransportShared {
		return backends.Errorf(backends.ErrUnavailable, "start plugin %s: %w", p.options.Name, err)
	}
	if err != nil {
		p.options.Log.Info("tensors cross by gRPC: no memory can be shared", "error", err)
		return nil
	}
	p.memory, p.child.inherited = memory, memory.Files()
	return nil
}

// negotiate asks the plugin whether it has taken the memory.
func (p *Process) negotiate(ctx context.Context) error {
	reply, err := call(ctx, p.client, p.control.Info, &proto.InfoRequest{})
	if err != nil {
		return err
	}
	p.client.metered = reply.GetDevices()
	if p.memory != nil && slices.Contains(reply.GetTransports(), TransportShared) {
		p.client.memory = p.memory
		go func() {
			<-p.child.died
			p.memory.Fail(p.lost(""))
		}()
		return nil
	}
	if p.options.Transport == TransportShared {
		return backends.Errorf(backends.ErrUnsupported, "it can share no memory: allow it to speak tensors over gRPC")
	}
	p.closeMemory()
	return nil
}

func (p *Process) closeMemory() {
	if p.memory != nil {
		p.memory.Close()
	}
}

// broke ends a plugin that has done what none may, and returns what its calls fail with.
func (p *Process) broke(how error) error {
	if gone := p.gone(); gone != nil || errors.Is(how, io.EOF) { // it has ended by itself
		return p.lost("its connection is closed")
	}
	_ = p.child.Kill(context.Background())
	return backends.Errorf(backends.ErrCrashed, "%w", backends.Errorf(backends.ErrUnavailable, "plugin %s was killed for what it did: %v", p.options.Name, how))
}

// connect starts the process and shakes hands with it. go-plugin knows no contexts: the
// death of the process is what makes it stop waiting.
func (p *Process) connect(ctx context.Context) (*grpc.ClientConn, error) {
	connected := make(chan struct{})
	defer close(connected)
	defer context.AfterFunc(ctx, func() {
		select {
		case <-p.child.started:
			_ = p.child.Kill(ctx)
		case <-connected:
		}
	})()
	protocol, err := p.plugin.Client()
	if err != nil {
		return nil, err
	}
	if p.options.AutoMTLS && !hasCert(p.child.greeting) {
		_ = p.child.Kill(ctx) // it cannot be asked to end
		return nil, errors.New("it has no certificate to show: make it one from the host's in " + clientCertKey + ", as plugins.Serve does, or allow it to do without")
	}
	conn, err := protocol.Dispense(pluginName)
	if err != nil {
		return nil, err
	}
	return conn.(*grpc.ClientConn), nil
}

// abandon ends what Start has started, and says why it failed.
func (p *Process) abandon(ctx context.Context, err error) error {
	defer p.closeMemory()
	if p.child.pid() == 0 {
		return backends.Errorf(backends.ErrUnavailable, "start plugin %s: %w", p.options.Name, err)
	}
	select {
	case <-p.child.died:
		<-p.child.drained
		if !p.child.killed.Load() { // then its own words say more than err
			err = errors.New(p.child.reason())
		}
	case <-time.After(drainTime):
	}
	err = errors.Join(err, p.end())
	if ctx.Err() != nil {
		return fmt.Errorf("start plugin %s: %w", p.options.Name, ctx.Err())
	}
	return backends.Errorf(backends.ErrUnavailable, "start plugin %s: %w", p.options.Name, err)
}

// watch logs the end of the process.
func (p *Process) watch() {
	defer close(p.watched)
	<-p.child.drained
	if p.isClosing() {
		p.options.Log.Info("plugin stopped", "pid", p.PID())
		return
	}
	p.options.Log.Error("plugin died", "pid", p.PID(), "reason", p.child.reason())
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.child.pid() }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.child.died }

// Err returns nil while the plugin serves, and then an ErrUnavailable that says why it does
// so no more.
func (p *Process) Err() error { return p.gone() }

// DeviceFailed says whether the process has ended because its device answered it no more.
func (p *Process) DeviceFailed() bool { return p.child.deviceFailed() }

func (p *Process) gone() error {
	if p.isClosing() {
		return backends.Errorf(backends.ErrUnavailable, "plugin %s is closed", p.options.Name)
	}
	select {
	case <-p.child.died:
		return backends.Errorf(backends.ErrUnavailable, "plugin %s died: %s", p.options.Name, p.child.reason())
	default:
	}
	if p.child.killed.Load() { // it ends in a moment
		return backends.Errorf(backends.ErrUnavailable, "plugin %s has been killed", p.options.Name)
	}
	return nil
}

// lost says why a call under way has lost its connection: the plugin was closed, or it died
// over the call. The latter is an ErrUnavailable, too, for who cares about that alone.
func (p *Process) lost(how string) error {
	select {
	case <-p.closing:
	case <-p.child.drained: // its last words say more than how
	case <-time.After(drainTime):
	}
	gone := p.gone()
	if p.isClosing() {
		return gone
	}
	if gone == nil { // the connection ends a moment before the process does
		gone = backends.Errorf(backends.ErrUnavailable, "plugin %s died: %s", p.options.Name, how)
	}
	return backends.Errorf(backends.ErrCrashed, "%w", gone)
}

func (p *Process) isClosing() bool {
	select {
	case <-p.closing:
		return true
	default:
		return false
	}
}

// Info asks the plugin what it is. A plugin that does not answer within Options.InfoTimeout,
// because it is stopped or hangs, gives context.DeadlineExceeded.
func (p *Process) Info(ctx context.Context) (backends.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, p.options.InfoTimeout)
	defer cancel()
	return p.info(ctx)
}

// Load loads a model in the plugin.
func (p *Process) Load(ctx context.Context, spec backends.Spec) (backends.Model, error) {
	m, err := p.load(ctx, spec)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Kill ends the plugin at once, as one that hangs must be ended. It does not wait for that.
// Calls under way fail as in any other death. Close is still to be called.
func (p *Process) Kill() error { return p.child.Kill(context.Background()) }

// Close ends the plugin, by force when it has not ended by itself within
// Options.CloseTimeout, and waits for its end. Calls under way fail with ErrUnavailable.
func (p *Process) Close() error {
	p.close.Do(func() {
		close(p.closing)
		if p.err = p.end(); p.err == nil {
			<-p.watched
		}
		p.closeMemory()
	})
	return p.err
}

func (p *Process) end() error {
	force := time.AfterFunc(p.options.CloseTimeout, func() { _ = p.child.Kill(context.Background()) })
	defer force.Stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.plugin.Kill() // asks, waits for up to 2 s, kills, and waits for the end
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(p.options.CloseTimeout + 2*time.Second + killTimeout):
		return fmt.Errorf("plugin %s: process %d does not end even when killed: the kernel holds it", p.options.Name, p.PID())
	}
}
