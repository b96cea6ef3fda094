package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/thrumserve/thrum/loadtest/facts"
)

// Server is a build that runs.
type Server struct {
	URL     string
	Metrics string // empty if there are none

	via     *http.Client // to ask for the metrics
	command *exec.Cmd    // nil if it was there before
	output  *tail
	ended   chan struct{} // closed when the command has
	err     error         // of the command, once it has ended
}

// start starts a build and waits until ready, which is asked again and again, returns nil.
func (b Build) start(ctx context.Context, ready func(ctx context.Context, url string) error) (*Server, error) {
	s := &Server{URL: b.URL, Metrics: b.Metrics, via: http.DefaultClient}
	if b.Command != "" {
		if err := s.run(b); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, b.Ready)
	defer cancel()
	for {
		err := ready(ctx, s.URL)
		if err == nil {
			return s, nil
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("%s: ended before it was ready: %w%s", b.Command, s.err, s.output)
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s is not ready: %w%s", s.URL, err, s.output), s.stop(0))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// run starts the command in a process group of its own, so that all of it can be ended.
func (s *Server) run(b Build) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	fill := func(text string) string {
		return os.Expand(text, func(name string) string {
			switch name {
			case "PORT":
				return strconv.Itoa(ports[0])
			case "ADMIN_PORT":
				return strconv.Itoa(ports[1])
			}
			return "${" + name + "}" // the shell's
		})
	}
	s.URL, s.Metrics = fill(b.URL), fill(b.Metrics)
	s.output = &tail{}
	s.ended = make(chan struct{})
	s.command = exec.Command("sh", "-c", "exec "+fill(b.Command))
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.command.Stdout, s.command.Stderr = s.output, s.output
	s.command.WaitDelay = time.Second
	if err := s.command.Start(); err != nil {
		return fmt.Errorf("%s: %w", b.Command, err)
	}
	go func() {
		s.err = s.command.Wait()
		close(s.ended)
	}()
	return nil
}

// freePorts returns ports that nobody listens on now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// stop asks the server to end and waits so long for it; then it kills its process group. Who did
// not end by itself in time, or not with 0, is an error. A server that was there before stays.
func (s *Server) stop(patience time.Duration) error {
	if s.command == nil {
		return nil
	}
	group := -s.command.Process.Pid
	_ = syscall.Kill(s.command.Process.Pid, syscall.SIGTERM) // it may have ended
	var err error
	select {
	case <-s.ended:
		if s.err != nil {
			err = fmt.Errorf("the server ended with %w%s", s.err, s.output)
		}
	case <-time.After(patience):
		err = fmt.Errorf("the server did not end within %v of SIGTERM", patience)
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // what is left of the group, if anything
	<-s.ended
	return err
}

// errDied is that of a server that ends while it is under load.
var errDied = errors.New("the server ended by itself")

// gone returns why the server has ended, nil while it runs.
func (s *Server) gone() error {
	select {
	case <-s.ended: // nil, and so never, for a server that was there before
		return fmt.Errorf("%w (%v)%s", errDied, s.err, s.output)
	default:
		return nil
	}
}

// facts returns what is known of the server now: of its processes, where it was started here, and
// from its metrics.
func (s *Server) facts(ctx context.Context, model string) (facts.Facts, error) {
	var f facts.Facts
	var err error
	if s.Metrics != "" {
		f, err = facts.Scrape(ctx, s.via, s.Metrics, model)
	}
	if s.command == nil {
		return f, err
	}
	of, err := facts.OfProcess(s.command.Process.Pid)
	f.CPU, f.Memory, f.Files = of.CPU, of.Memory, of.Files
	return f, err
}

// tail keeps the end of what a server prints.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(p), nil
}

// String returns it as what follows a sentence, empty if there is none.
func (t *tail) String() string {
	if t == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.text) == 0 {
		return ""
	}
	return "; its last words:\n" + string(bytes.TrimSpace(t.text))
}
