package plugins

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// drainTime is how long the output of a plugin is still read after its death. It matters only
// where a process that the plugin started holds the other end open.
const drainTime = 100 * time.Millisecond

// child is a plugin's operating system process. It is the runner.Runner that go-plugin
// drives, in place of go-plugin's own, which notices a death only once every holder of the
// process' output has closed it, stops reading that output at a long line, and panics on a
// log line whose message is no string.
type child struct {
	command  Command
	checksum string // that the program must have; any if empty
	limits   Limits
	secure   bool     // host and plugin have certificates
	log      *lineLog // where its output goes

	inherited []*os.File // what the process gets besides the pipes, from memoryFD on
	weights   *os.File   // what it gets as weightsFD, and the host keeps; may be nil
	locker    *os.File   // the same as lockerFD

	env       []string // go-plugin's part of the environment, and the host's certificate
	socketDir string   // go-plugin's folder for the socket
	cmd       *exec.Cmd

	greeting       string         // the first line of its output; set before handshake has it
	handshake      *io.PipeReader // that line, for go-plugin
	stdout, stderr *os.File
	host           *os.File // the plugin lives as long as this is open

	killed  atomic.Bool   // it does not end by itself
	started chan struct{} // closed when the process has started
	died    chan struct{} // closed when the process has ended
	drained chan struct{} // closed when its output has been logged, too
	err     error         // how it ended; set before died is closed
}

func newChild(command Command, o Options) *child {
	return &child{
		command:  command,
		checksum: o.Checksum,
		limits:   o.Limits,
		weights:  o.Weights,
		locker:   o.Locker,
		secure:   o.AutoMTLS,
		log:      &lineLog{log: o.Log},
		started:  make(chan struct{}),
		died:     make(chan struct{}),
		drained:  make(chan struct{}),
	}
}

// Start starts the process. The thread that does so waits for its end: the kernel kills the
// child when the thread that started it ends, and so must not do that before. It is as confined
// as the process.
func (c *child) Start(context.Context) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		err := c.exec()
		result <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.died)
		}
	}()
	if err := <-result; err != nil {
		return err
	}
	close(c.started)
	return nil
}

func (c *child) exec() error {
	c.cmd = exec.Command(c.command.Path, c.command.Args...)
	c.cmd.Env = slices.Concat(c.command.environ(), c.limits.environ(), c.env)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // a terminal's signals are for the host
		Pdeathsig: syscall.SIGKILL,
	}
	theirs, err := c.pipes()
	if err == nil {
		c.cmd.Stdout, c.cmd.Stderr, c.cmd.ExtraFiles = theirs[0], theirs[1], theirs[2:]
		err = c.launch()
	}
	closeAll(theirs...)
	if err != nil {
		closeAll(c.stdout, c.stderr, c.host)
		return err
	}
	handshake, first := io.Pipe()
	c.handshake = handshake
	go c.forward(first)
	return nil
}

// placed returns files, which a process inherits from hostFD on, with f among them as fd.
func placed(files []*os.File, f *os.File, fd int) []*os.File {
	gap := make([]*os.File, fd-hostFD-len(files))
	return slices.Concat(files, gap, []*os.File{f})
}

// launch starts the program, confined, and the one that is pinned if one is.
func (c *child) launch() error {
	if c.weights != nil {
		c.cmd.ExtraFiles = placed(c.cmd.ExtraFiles, c.weights, weightsFD)
	}
	if c.locker != nil {
		c.cmd.ExtraFiles = placed(c.cmd.ExtraFiles, c.locker, lockerFD)
	}
	if c.checksum != "" {
		program, err := openPinned(c.command.Path, c.checksum)
		if err != nil {
			return err
		}
		defer closeAll(program)
		c.cmd.ExtraFiles = placed(c.cmd.ExtraFiles, program, programFD)
		c.cmd.Path, c.cmd.Err = programPath(), nil
	}
	if err := c.limits.confineThread(); err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	err := c.limits.confineProcess(c.cmd.Process.Pid)
	if err != nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
	return err
}

// pipes makes the ends that the process inherits, in the order of standard output, standard
// error, hostFD and what else it is to inherit, and keeps the others.
func (c *child) pipes() (theirs []*os.File, err error) {
	for _, out := range []**os.File{&c.stdout, &c.stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		*out, theirs = r, append(theirs, w)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	c.host = w
	return slices.Concat(theirs, []*os.File{r}, c.inherited), nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close() // of a nil file: an error, like that of one closed before
	}
}

// forward logs the output of the process, but for the handshake, until both have ended.
func (c *child) forward(handshake *io.PipeWriter) {
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		var streams sync.WaitGroup
		streams.Go(func() { _, _ = io.Copy(c.log, c.stderr) })
		streams.Go(func() { c.forwardStdout(handshake) })
		streams.Wait()
	}()
	<-c.died
	select {
	case <-logged:
	case <-time.After(drainTime):
	}
	closeAll(c.stdout, c.stderr, c.host)
	<-logged
	c.log.flush()
	close(c.drained)
}

func (c *child) forwardStdout(handshake *io.PipeWriter) {
	out := bufio.NewReaderSize(c.stdout, 4<<10)
	line, _ := out.ReadSlice('\n') // cut where the buffer ends: a handshake is shorter
	if len(line) == 0 {
		<-c.died // so that it is its death, and why, that is reported
	}
	c.greeting = string(line)
	if !c.secure && c.greeting != "" {
		c.greeting = withoutCert(c.greeting)
	}
	if !strings.Contains(c.greeting, "|") { // the words of a program that is no plugin
		_, _ = io.WriteString(c.log, strings.TrimSpace(c.greeting)+"\n")
	}
	_, _ = io.WriteString(handshake, c.greeting)
	_ = handshake.Close()
	_, _ = io.Copy(&lineLog{log: c.log.log}, out)
}

// reason says how the process ended, with its last words once they have been read, and under
// which limit: what dies for want of memory seldom says more than that.
func (c *child) reason() string {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	if words := c.log.lastWords(); words != "" {
		how = fmt.Sprintf("%s, after saying %q", how, words)
	}
	if !c.isKilled() {
		how += c.limits.blame()
	}
	return how
}

// deviceFailed says whether the process has ended with the status that says so.
func (c *child) deviceFailed() bool {
	select {
	case <-c.died:
	default:
		return false
	}
	var exit *exec.ExitError
	return errors.As(c.err, &exit) && exit.ExitCode() == backends.DeviceFailed
}

// isKilled says whether the process ended by no fault of its own, by our hand or another's.
func (c *child) isKilled() bool {
	var exit *exec.ExitError
	if !errors.As(c.err, &exit) {
		return c.killed.Load()
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return c.killed.Load() || ok && status.Signal() == syscall.SIGKILL
}

// Wait waits for the end of the process.
func (c *child) Wait(context.Context) error {
	<-c.died
	return c.err
}

// Kill ends the process at once. It does not wait for that.
func (c *child) Kill(context.Context) error {
	select {
	case <-c.died:
		return nil
	default:
	}
	c.killed.Store(true)
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill plugin: %w", err)
	}
	return nil
}

// Stdout returns the handshake alone.
func (c *child) Stdout() io.ReadCloser { return c.handshake }

// Stderr returns nothing: forward logs it.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name returns the path of the executable.
func (c *child) Name() string { return c.command.Path }

// ID returns the process id, or nothing before the process has started.
func (c *child) ID() string {
	if pid := c.pid(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

func (c *child) pid() int {
	if c.cmd == nil || c.cmd.Process == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

// Diagnose adds nothing to go-plugin's own words: what the process said is in the log.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost returns the address unchanged: host and plugin see the same file system.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin is the reverse of PluginToHost.
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
