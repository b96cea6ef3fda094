package main

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/thrumserve/thrum/plugins/shm"
)

//go:embed c/pingpong.c
var pingpong string

// ways are how both ends of a ping-pong wait for each other.
var ways = []struct {
	name string
	how  shm.Spinning
}{
	{"adaptive", shm.SpinAdaptively},
	{"spin", shm.SpinLong},
	{"sleep", shm.SpinNever},
}

// pong is the bare ping-pong: a process that starts its own peer.
type pong struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	peer int
}

// compilePong compiles the program into a folder.
func compilePong(folder string) (program string, err error) {
	source, program := filepath.Join(folder, "pingpong.c"), filepath.Join(folder, "pingpong")
	if err := os.WriteFile(source, []byte(pingpong), 0o600); err != nil {
		return "", err
	}
	if text, err := exec.Command("cc", "-O2", "-o", program, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("the bare ping-pong needs a C compiler, `apt-get install gcc` brings one: cc: %w %s", err, strings.TrimSpace(string(text)))
	}
	return program, nil
}

func startPong(program, way string) (*pong, error) {
	p := &pong{cmd: exec.Command(program, way)}
	return p, p.start()
}

func (p *pong) start() error {
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.in, p.out, p.cmd.Stderr = in, bufio.NewReader(out), os.Stderr
	if err := p.cmd.Start(); err != nil {
		return err
	}
	_, err = fmt.Fscanln(p.out, &p.peer)
	return err
}

func (p *pong) pids() []int { return []int{p.cmd.Process.Pid, p.peer} }

func (p *pong) run(_ context.Context, d time.Duration) (n int, took time.Duration, err error) {
	if _, err := fmt.Fprintln(p.in, d.Nanoseconds()); err != nil {
		return 0, 0, err
	}
	_, err = fmt.Fscanln(p.out, &n, &took)
	return n, took, err
}

func (p *pong) close() {
	_ = p.in.Close()
	_ = p.cmd.Wait() // it ends with its input
}
