// Command trees runs one model in thrum's CPU engine, without a server, for compare.py beside it.
//
//	trees DIR ROWS COLUMNS
//
// loads DIR/model.onnx and ROWS, a file of float32 rows. Then each line of the standard input is a
// command, answered by a line of JSON:
//
//	predict FILE          predicts all rows in batches of 1000 and writes what the first output is
//	time BATCH SECONDS    predicts batches, each of the rows that follow those of the one before
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "trees:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 4 {
		return fmt.Errorf("usage: trees DIR ROWS COLUMNS")
	}
	columns, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	e, err := load(os.Args[1], os.Args[2], columns)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		answer, err := e.command(lines.Text())
		if err != nil {
			return err
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

// engine is a model and the rows that it predicts.
type engine struct {
	model   backends.Model
	input   string
	rows    []byte
	columns int
	at      int // the next row
}

func load(folder, path string, columns int) (*engine, error) {
	rows, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	spec := backends.Spec{Model: "trees", Version: "1", Dir: folder}
	m, err := cpu.New(cpu.Options{Threads: 1}).Load(context.Background(), spec)
	if err != nil {
		return nil, err
	}
	return &engine{model: m, input: m.Signature().Inputs[0].Name, rows: rows, columns: columns}, nil
}

func (e *engine) command(line string) (any, error) {
	var file string
	var batch int
	var seconds float64
	if _, err := fmt.Sscanf(line, "time %d %g", &batch, &seconds); err == nil {
		return e.time(batch, time.Duration(seconds*float64(time.Second)))
	}
	if _, err := fmt.Sscanf(line, "predict %s", &file); err != nil {
		return nil, fmt.Errorf("%q is no command", line)
	}
	return struct{}{}, e.predictAll(file)
}

// predict predicts the next batch.
func (e *engine) predict(batch int) (backends.Batch, error) {
	size := 4 * e.columns
	if (e.at+batch)*size > len(e.rows) {
		e.at = 0
	}
	in := backends.Tensor{Name: e.input, Datatype: backends.FP32, Shape: []int64{int64(batch), int64(e.columns)},
		Data: e.rows[e.at*size : (e.at+batch)*size]}
	e.at += batch
	return e.model.Predict(context.Background(), backends.Batch{Tensors: []backends.Tensor{in}})
}

func (e *engine) predictAll(file string) error {
	const batch = 1000
	var all []byte
	e.at = 0
	for range len(e.rows) / (4 * e.columns * batch) {
		out, err := e.predict(batch)
		if err != nil {
			return err
		}
		all = append(all, out.Tensors[0].Data...)
		out.Lease.Release()
	}
	return os.WriteFile(file, all, 0o644)
}

// timing is what a round has taken.
type timing struct {
	Rows   int     `json:"rows"`
	Clock  float64 `json:"clock"`  // seconds
	CPU    float64 `json:"cpu"`    // seconds of the process
	Cycles float64 `json:"cycles"` // of the processor in a nanosecond
}

func (e *engine) time(batch int, length time.Duration) (timing, error) {
	t := timing{Cycles: calibrate()}
	began, used := time.Now(), cpuTime()
	for time.Since(began) < length {
		out, err := e.predict(batch)
		if err != nil {
			return t, err
		}
		out.Lease.Release()
		t.Rows += batch
	}
	t.CPU, t.Clock = cpuTime()-used, time.Since(began).Seconds()
	return t, nil
}

// cpuTime returns the seconds that this process has had on processors.
func cpuTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are right
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

var sink uint64

// calibrate returns the processor's cycles in a nanosecond: a multiplication that waits for the one
// before it takes three. Of several tries the shortest counts, which nobody has interrupted.
func calibrate() float64 {
	const n = 1 << 16
	best := 0.0
	for range 8 {
		x, began := sink|3, time.Now()
		for range n {
			x *= 0x9e3779b97f4a7c15
		}
		best = max(best, 3*n/float64(time.Since(began)))
		sink = x
	}
	return best
}
