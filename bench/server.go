package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// server is a server process under measurement.
type server struct {
	cmd         *exec.Cmd
	address     string
	folder      string // removed at the end
	connections []*connection
}

// serveEcho is the bare fasthttp server that answers with the request's body.
func serveEcho(ctx context.Context, address string) error {
	s := &fasthttp.Server{
		ReadTimeout:        time.Minute,
		MaxRequestBodySize: 64 << 20,
		Handler: func(c *fasthttp.RequestCtx) {
			c.SetContentType("application/json")
			c.SetBody(c.PostBody())
		},
	}
	defer context.AfterFunc(ctx, func() { _ = s.Shutdown() })()
	return s.ListenAndServe(address)
}

func startEcho(ctx context.Context) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, func(address, _ string) *exec.Cmd { return exec.Command(self, "-echo", address) }, "/")
}

func startThrum(ctx context.Context, binary string) (*server, error) {
	folder, err := os.MkdirTemp("", "thrum-bench-")
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.MkdirAll(filepath.Join(folder, "null", "1"), 0o755),
		os.WriteFile(filepath.Join(folder, "null", "model.yaml"), []byte("backend: \"null\"\n"), 0o644))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	s, err := start(ctx, func(address, admin string) *exec.Cmd {
		return exec.Command(binary, "serve", "--models", folder, "--http", address, "--admin", admin, "--control", "none")
	}, "/v2/models/null/ready")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	s.folder = folder
	return s, nil
}

// start runs the command with two free addresses and waits until path answers 200.
func start(ctx context.Context, command func(address, other string) *exec.Cmd, path string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	other, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: command(address, other), address: address}
	var log strings.Builder
	s.cmd.Stderr = &log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: `make build` builds the server", err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		reply, err := http.Get("http://" + address + path)
		if err == nil {
			reply.Body.Close()
			if reply.StatusCode == http.StatusOK {
				return s, nil
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			stopErr := s.stop()
			return nil, fmt.Errorf("%s did not become ready: %w\n%s", s.cmd, errors.Join(err, ctx.Err(), stopErr), &log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *server) connect(n int) error {
	for len(s.connections) < n {
		c, err := dial(s.address)
		if err != nil {
			return err
		}
		s.connections = append(s.connections, c)
	}
	return nil
}

// cpu returns the CPU time of the server and of the plugins that it started.
func (s *server) cpu() (time.Duration, error) {
	total, err := cpuOf(s.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	if err != nil {
		return total, err
	}
	for _, task := range tasks {
		children, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				return total, err
			}
			own, err := cpuOf(pid)
			if err != nil {
				return total, err
			}
			total += own
		}
	}
	return total, nil
}

// cpuOf returns a process' time in user and system mode, by the scheduler's clock: the
// counters in /proc/PID/stat are too coarse for a round.
func cpuOf(pid int) (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		var running int64
		if _, err := fmt.Sscan(string(text), &running); err != nil {
			return 0, err
		}
		total += time.Duration(running)
	}
	return total, nil
}

// stop ends the server and removes what it was given.
func (s *server) stop() error {
	for _, c := range s.connections {
		_ = c.Close()
	}
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	if err != nil {
		return err
	}
	killer := time.AfterFunc(20*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer killer.Stop()
	_ = s.cmd.Wait() // a server that we ended may say so in its status
	if s.folder != "" {
		err = os.RemoveAll(s.folder)
	}
	return err
}
