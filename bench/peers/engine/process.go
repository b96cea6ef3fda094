// Package engine lets other inference engines compute beside thrum: in a Python process, asked
// over its standard input and output, so that no engine is a dependency of thrum.
package engine

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/bench/turns"
)

//go:embed driver.py
var driver string

// The engines.
const (
	OnnxRuntime = "onnxruntime"
	OpenVINO    = "openvino"
)

// Process is a Python process with at most one loaded model. Use it from one goroutine.
type Process struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	folder  string // for tensors
}

// Start starts the Python of an environment, which ends with ctx or Close.
func Start(ctx context.Context, python string) (*Process, error) {
	p := &Process{command: exec.CommandContext(ctx, python, "-c", driver)}
	p.command.Stderr = os.Stderr
	in, err := p.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	if p.folder, err = os.MkdirTemp("", "thrum-peer-"); err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: make bench-engine makes it", err), os.RemoveAll(p.folder))
	}
	return p, nil
}

// Close ends the process.
func (p *Process) Close() error {
	p.in.Close()
	return errors.Join(p.command.Wait(), os.RemoveAll(p.folder))
}

// Load is what a process is to run: the ONNX file Model or, if that is empty, Product.
type Load struct {
	Engine    string
	Model     string
	Product   *Product
	Threads   int
	Precision string // fp32 or bf16
	Inputs    []backends.Tensor
}

// Product is a matrix product whose weights are constant: of float32, or of uint8 with int8.
type Product struct {
	M, K, N int
	Weights []byte // K rows of N
	Integer bool
}

// Load loads and runs a model, and says which engine does that and with what settings. What was
// loaded before is gone.
func (p *Process) Load(l Load) (string, error) {
	inputs, err := p.describe(l.Inputs)
	if err != nil {
		return "", err
	}
	command := map[string]any{"do": "load", "engine": l.Engine, "threads": l.Threads, "precision": l.Precision, "inputs": inputs, "model": l.Model}
	if w := l.Product; w != nil {
		file := filepath.Join(p.folder, "weights")
		if err := os.WriteFile(file, w.Weights, 0o600); err != nil {
			return "", err
		}
		command["product"] = map[string]any{"m": w.M, "k": w.K, "n": w.N, "weights": file, "integer": w.Integer}
	}
	var answer struct {
		About string
		Call  float64
	}
	if err := p.ask(command, &answer); err != nil {
		return "", fmt.Errorf("%s: %w", l.Engine, err)
	}
	return fmt.Sprintf("%s, less %.1f µs for a call from Python", answer.About, answer.Call*1e6), nil
}

// tensorFile is a tensor whose data is in a file.
type tensorFile struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
	File     string  `json:"file"`
}

func (p *Process) describe(tensors []backends.Tensor) ([]tensorFile, error) {
	var all []tensorFile
	for i, t := range tensors {
		file := filepath.Join(p.folder, fmt.Sprint("input", i))
		if err := os.WriteFile(file, t.Data, 0o600); err != nil {
			return nil, err
		}
		all = append(all, tensorFile{t.Name, t.Datatype.String(), t.Shape, file})
	}
	return all, nil
}

// Run is the turns.Side of the loaded model.
func (p *Process) Run(length time.Duration) (turns.Timing, error) {
	var answer struct {
		Runs       int
		Clock, CPU float64
	}
	err := p.ask(map[string]any{"do": "time", "seconds": length.Seconds()}, &answer)
	return turns.Timing{Runs: answer.Runs, Clock: seconds(answer.Clock), CPU: seconds(answer.CPU)}, err
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Outputs returns what the loaded model answers to its inputs.
func (p *Process) Outputs() ([]backends.Tensor, error) {
	var answer struct{ Outputs []tensorFile }
	if err := p.ask(map[string]any{"do": "outputs", "folder": p.folder}, &answer); err != nil {
		return nil, err
	}
	return read(answer.Outputs)
}

func read(files []tensorFile) ([]backends.Tensor, error) {
	var all []backends.Tensor
	for _, f := range files {
		kind, err := backends.ParseDatatype(f.Datatype)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(f.File)
		if err != nil {
			return nil, err
		}
		all = append(all, backends.Tensor{Name: f.Name, Datatype: kind, Shape: f.Shape, Data: data})
	}
	return all, nil
}

// ask sends a command and decodes its answer.
func (p *Process) ask(command map[string]any, answer any) error {
	if err := json.NewEncoder(p.in).Encode(command); err != nil {
		return err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the Python process has ended: %w", err)
	}
	var failure struct{ Error string }
	if err := json.Unmarshal(line, &failure); err != nil {
		return err
	}
	if failure.Error != "" {
		return errors.New(failure.Error)
	}
	return json.Unmarshal(line, answer)
}
