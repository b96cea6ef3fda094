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
)

//go:embed c/pingpong.c
var pingpong string

// pong is the bare ping-pong: a process that starts its own peer.
type pong struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	peer int
}

// startPong compiles the C program, or where there is no C compiler takes the one in Go.
func startPong() (*pong, error) {
	folder, err := os.MkdirTemp("", "boundary-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	source, program := filepath.Join(folder, "pingpong.c"), filepath.Join(folder, "pingpong")
	if err := os.WriteFile(source, []byte(pingpong), 0o600); err != nil {
		return nil, err
	}
	p := &pong{name: "ping-pong in C"}
	if text, err := exec.Command("cc", "-O2", "-o", program, source).CombinedOutput(); err != nil {
		fmt.Printf("the bare ping-pong is the one in Go: cc: %v %s\n", err, strings.TrimSpace(string(text)))
		p.name, p.cmd = "ping-pong in Go", exec.Command(self())
		p.cmd.Env = append(os.Environ(), roleKey+"=pong")
	} else {
		p.cmd = exec.Command(program)
	}
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
