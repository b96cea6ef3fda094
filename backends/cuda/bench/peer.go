//go:build cuda

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/bench/turns"
)

// peer is a Python process that runs peer.py, with at most one model. Use it from one goroutine.
type peer struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	cut     func() // ends the process, and whoever waits for it
	said    *tail
	folder  string // for tensors
	about   string // PyTorch's version
}

// startPeer starts PyTorch, which may take a while.
func (s settings) startPeer(ctx context.Context, limit time.Duration) (*peer, error) {
	words := strings.Fields(s.python)
	if len(words) == 0 {
		return nil, errors.New("no interpreter is given")
	}
	words = append(words[:1:1], append([]string{filepath.Join(s.folder, "peer.py")}, words[1:]...)...)
	p := &peer{command: exec.Command(words[0], words[1:]...), said: &tail{}}
	p.command.Stderr = p.said
	p.command.WaitDelay = time.Second
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := p.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	p.cut = func() { _ = p.command.Process.Kill(); _ = out.Close() } // others may hold its output
	if p.folder, err = os.MkdirTemp("", "thrum-peer"); err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.folder))
	}
	var hello struct{ About string }
	if err := p.ask(map[string]any{"do": "hello"}, limit, &hello); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.about = hello.About
	return p, nil
}

// close ends the process.
func (p *peer) close() error {
	p.in.Close()
	p.cut() // it holds nothing that has to be put in order
	_ = p.command.Wait()
	return os.RemoveAll(p.folder)
}

// ask sends a command and decodes its answer. A process that takes longer than it may is ended.
func (p *peer) ask(command any, limit time.Duration, answer any) error {
	timer := time.AfterFunc(limit, p.cut)
	defer timer.Stop()
	if err := json.NewEncoder(p.in).Encode(command); err != nil {
		return fmt.Errorf("%w: %s", err, p.said)
	}
	text, err := p.out.ReadBytes('\n')
	if err != nil && !timer.Stop() {
		return fmt.Errorf("PyTorch took more than %v", limit.Round(time.Second))
	} else if err != nil {
		return fmt.Errorf("PyTorch has ended: %s", p.said)
	}
	var failure struct{ Error string }
	if err := json.Unmarshal(text, &failure); err != nil {
		return err
	}
	if failure.Error != "" {
		return errors.New(failure.Error)
	}
	return json.Unmarshal(text, answer)
}

// file is a tensor whose data is in a file.
type file struct {
	Shape    []int64 `json:"shape"`
	Datatype string  `json:"datatype"`
	File     string  `json:"file"`
}

// loading is the command that loads a model.
type loading struct {
	Do        string `json:"do"`
	Folder    string `json:"folder"`
	Precision string `json:"precision"`
	Mode      string `json:"mode"`
	Times     int    `json:"times"` // that it runs in a graph
	Inputs    []file `json:"inputs"`
}

// load compiles a model for a batch, and says in what form.
func (p *peer) load(l loading, in backends.Batch, limit time.Duration) error {
	l.Do = "load"
	for i, t := range in.Tensors {
		name := filepath.Join(p.folder, fmt.Sprint("input", i))
		if err := os.WriteFile(name, t.Data, 0o600); err != nil {
			return err
		}
		l.Inputs = append(l.Inputs, file{t.Shape, t.Datatype.String(), name})
	}
	var answer struct{ About string }
	err := p.ask(l, limit, &answer)
	if err == nil {
		version, _, _ := strings.Cut(p.about, ", ")
		p.about = fmt.Sprintf("%s, %s, %s", version, l.Mode, answer.About)
	}
	return err
}

// patience is how much longer than it should a run may take.
const patience = 30 * time.Second

// side is the loaded model as a side: from the device's memory to its memory, or from the host's to the
// host's.
func (p *peer) side(how string) turns.Side {
	return func(length time.Duration) (turns.Timing, error) {
		var answer struct {
			Runs  int
			Clock float64
		}
		err := p.ask(map[string]any{"do": "time", "how": how, "seconds": length.Seconds()}, length+patience, &answer)
		return turns.Timing{Runs: answer.Runs, Clock: time.Duration(answer.Clock * float64(time.Second))}, err
	}
}

// output returns what the loaded model answers to its inputs.
func (p *peer) output() ([]float32, error) {
	name := filepath.Join(p.folder, "output")
	var answer struct{}
	if err := p.ask(map[string]any{"do": "output", "file": name}, patience, &answer); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	return floats(data), err
}

func floats(data []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/4)
}

// cosine says how far apart two answers point.
func cosine(a, b []float32) (float64, error) {
	if len(a) != len(b) {
		return 0, fmt.Errorf("%d numbers are answered, by the other side %d", len(a), len(b))
	}
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb), nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 4000
	t.end = append(t.end, p...)
	t.end = t.end[max(0, len(t.end)-most):]
	return len(p), nil
}

// String returns the last line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(t.end))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
