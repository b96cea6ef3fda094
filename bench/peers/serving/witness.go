package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/result"
)

// testimony is what perf_analyzer and the own generator say of the same server under the same load.
// Latency is from the actual send, as perf_analyzer has it.
type testimony struct {
	Load   string        `json:"load"`
	Theirs witnessed     `json:"perf_analyzer"`
	Ours   witnessed     `json:"attack"`
	Took   time.Duration `json:"length_ns"` // of a window of theirs, and of the run of ours
}

type witnessed struct {
	Rate float64       `json:"per_second"`
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`

	Cores float64 `json:"cores"` // of the generator's processor, that who asks takes
}

// CPU is what who asks takes for a request.
func (w witnessed) CPU() time.Duration { return time.Duration(w.Cores / max(1, w.Rate) * 1e9) }

// Ratio is of the rates, ours to theirs.
func (t testimony) Ratio() float64 { return t.Ours.Rate / max(1, t.Theirs.Rate) }

// concurrencies of the closed loops that are compared.
var concurrencies = []int{1, 8}

// witness asks perf_analyzer about the process, with binary tensors, and then asks the own generator.
func witness(ctx context.Context, o options, run *process, m model) ([]testimony, error) {
	d, ok := run.dialectOf("binary")
	if _, err := os.Stat(filepath.Join(o.environments, "witness", "bin", "perf_analyzer")); errors.Is(err, fs.ErrNotExist) || !ok {
		return nil, nil
	}
	l := load{options: o, run: run, model: m, dialect: d}
	var all []testimony
	for _, n := range concurrencies {
		count := strconv.Itoa(n)
		t, err := l.compare(ctx, "closed loop of "+count, []string{"--concurrency-range", count}, func(ctx context.Context) (trial, error) {
			return l.attack(ctx, func(a *attack.Options) { a.Concurrency, a.Duration = n, o.fixed })
		})
		if err != nil {
			return all, err
		}
		all = append(all, t)
	}
	rate := strconv.FormatFloat(o.rate, 'f', -1, 64)
	t, err := l.compare(ctx, "poisson "+rate+"/s", []string{"--request-rate-range", rate, "--request-distribution", "poisson"},
		func(ctx context.Context) (trial, error) { return l.at(ctx, o.rate, o.fixed) })
	if err != nil {
		return all, err
	}
	return append(all, t), nil
}

func (l load) compare(ctx context.Context, name string, args []string, ours func(context.Context) (trial, error)) (testimony, error) {
	t := testimony{Load: name, Took: l.fixed}
	var err error
	if t.Theirs, err = l.perfAnalyzer(ctx, args); err != nil {
		return t, err
	}
	own, err := ours(ctx)
	if err != nil {
		return t, err
	}
	all := own.run.Total()
	q := all.Sent(result.OK).Quantiles(0.5, 0.99)
	t.Ours = witnessed{all.Achieved(), q[0], q[1], own.run.Generator.CPU.Seconds() / own.run.Took.Seconds()}
	progress("%s: perf_analyzer %.0f/s, p99 %v, CPU %v a request; attack %.0f/s, p99 %v, CPU %v", name,
		t.Theirs.Rate, t.Theirs.P99, t.Theirs.CPU(), t.Ours.Rate, t.Ours.P99, t.Ours.CPU())
	return t, nil
}

// perfAnalyzer runs it on the generator's processor until three of its windows agree, or ten have passed.
func (l load) perfAnalyzer(ctx context.Context, args []string) (witnessed, error) {
	dir, err := filepath.Abs(filepath.Join(l.environments, "witness"))
	if err != nil {
		return witnessed{}, err
	}
	folder, err := os.MkdirTemp("", "bench-peers-witness-")
	if err != nil {
		return witnessed{}, err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "out.csv")
	c := exec.CommandContext(ctx, filepath.Join(dir, "bin", "perf_analyzer"), append([]string{"-m", l.model.name,
		"-u", "127.0.0.1:" + strconv.Itoa(l.run.port), "--measurement-interval", strconv.FormatInt(l.fixed.Milliseconds()/2, 10),
		"--stability-percentage", strconv.Itoa(agree), "-f", file}, args...)...)
	c.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries(dir))
	began := time.Now()
	out, err := c.CombinedOutput()
	took := time.Since(began)
	if c.ProcessState != nil && c.ProcessState.ExitCode() == unstable {
		return witnessed{}, fmt.Errorf("perf_analyzer's windows do not agree within %d %%: the machine is too busy", agree)
	} else if err != nil {
		return witnessed{}, fmt.Errorf("perf_analyzer: %w: %s", err, last(string(out), 500))
	}
	f, err := os.Open(file)
	if err != nil {
		return witnessed{}, err
	}
	defer f.Close()
	table, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return witnessed{}, fmt.Errorf("perf_analyzer's figures: %w", err)
	}
	w, err := parseWitnessed(table)
	w.Cores = (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds() / took.Seconds()
	return w, err
}

const (
	agree    = 25 // percent that three windows of perf_analyzer may be apart
	unstable = 2  // its exit code if they are farther apart; it writes nothing then
)

// libraries are the folders of those that perf_analyzer needs beside the system's.
func libraries(dir string) string {
	found, _ := filepath.Glob(filepath.Join(dir, "lib", "python*", "site-packages", "nvidia", "cuda_runtime", "lib"))
	return strings.Join(append(found, filepath.Join(dir, "lib")), ":")
}

// parseWitnessed reads the header and the only row of perf_analyzer's file, in microseconds.
func parseWitnessed(table [][]string) (w witnessed, err error) {
	if len(table) != 2 {
		return w, fmt.Errorf("perf_analyzer's figures have %d lines, want two", len(table))
	}
	for i, name := range table[0] {
		if i >= len(table[1]) {
			break
		}
		value, parseErr := strconv.ParseFloat(table[1][i], 64)
		switch name {
		case "Inferences/Second":
			w.Rate, err = value, errors.Join(err, parseErr)
		case "p50 latency":
			w.P50, err = time.Duration(value*1e3), errors.Join(err, parseErr)
		case "p99 latency":
			w.P99, err = time.Duration(value*1e3), errors.Join(err, parseErr)
		}
	}
	if err == nil && (w.Rate == 0 || w.P99 == 0) {
		err = errors.New("perf_analyzer's figures lack rate or latency")
	}
	return w, err
}
