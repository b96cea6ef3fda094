package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// process is this program in another role.
type process struct {
	command *exec.Cmd
	address string // that it has printed as its first line
	in      io.WriteCloser
	out     *bufio.Reader
}

// startRole starts a role on one processor and waits for the first line that it prints, its address
// if it is a server. It ends when its standard input does.
func startRole(ctx context.Context, role string, processor int) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// By taskset, so that it holds for all threads of the Go runtime from their beginning.
	p := &process{command: exec.CommandContext(ctx, "taskset", "-c", strconv.Itoa(processor), self)}
	p.command.Env = append(os.Environ(), roleKey+"="+role)
	p.command.Stderr = os.Stderr
	if p.in, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	line, err := p.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the %s did not start: %w", role, err), p.stop())
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

// stop ends the process and waits for it.
func (p *process) stop() error {
	_ = p.in.Close()
	kill := time.AfterFunc(5*time.Second, func() { _ = p.command.Process.Kill() })
	defer kill.Stop()
	return p.command.Wait()
}
