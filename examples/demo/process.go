package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is a thrum server under way.
type process struct {
	cmd         *exec.Cmd
	http, admin string
	ended       chan struct{}
	err         error // set before ended closes
}

const (
	startTime = time.Minute
	stopTime  = 40 * time.Second
)

func startServer(ctx context.Context, o options) (*process, error) {
	httpAddr, err := freeAddress(o.http)
	if err != nil {
		return nil, err
	}
	adminAddr, err := freeAddress(o.admin)
	if err != nil {
		return nil, err
	}
	s := &process{http: httpAddr, admin: adminAddr, ended: make(chan struct{})}
	s.cmd = exec.Command(o.thrum, "serve", "--models", o.models, "--http", httpAddr, "--admin", adminAddr)
	s.cmd.Stdout, s.cmd.Stderr = os.Stderr, os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches us, and we end it in order
	fmt.Printf("$ %s\n", s.cmd)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: `make build` builds the server", err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	return s, nil
}

// freeAddress returns address, or one with another port of the same host if it is taken.
func freeAddress(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		host, _, splitErr := net.SplitHostPort(address)
		if splitErr != nil {
			return "", splitErr
		}
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return "", err
		}
		fmt.Printf("%s is taken, using %s\n", address, l.Addr())
	}
	return l.Addr().String(), l.Close()
}

func (s *process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/v2/health/ready", nil)
		if err != nil {
			return err
		}
		if reply, err := http.DefaultClient.Do(request); err == nil {
			reply.Body.Close()
			if reply.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server ended before it was ready: %w", s.err)
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready within %v: %w", startTime, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// wait returns when ctx ends or the server does.
func (s *process) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.ended:
		return fmt.Errorf("the server ended: %w", s.err)
	}
}

// stop asks the server to end and waits for it.
func (s *process) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		<-s.ended
		return s.err
	}
	select {
	case <-s.ended:
		return s.err
	case <-time.After(stopTime):
		return fmt.Errorf("the server did not stop within %v: %w", stopTime, s.cmd.Process.Kill())
	}
}
