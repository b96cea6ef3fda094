package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// environments is where the Python environments of peers and witnesses are made.
const environments = "/tmp/thrum-peers"

// slowModel is a server that is the limit, not LoadGen's Python: four instances that answer a row in
// 4 ms without computing, one row at a time.
const slowModel = `backend: "null"
options: {takes: 4ms}
instances: 4
batching: {max_rows: 1, inflight: 4}
`

const (
	loadgenLimit  = 20 * time.Millisecond // of p99
	loadgenStart  = 400                   // requests/s, which the server holds by far
	loadgenRounds = 2
	loadgenTrial  = 20 * time.Second // at least, of either side's
)

// loadgenRow lets `thrum loadtest peak` and MLPerf LoadGen's own search look for the peak of the
// same server in turns: Poisson arrivals, binary tensors, the same limit of p99 from the scheduled
// start, the same least duration of a trial.
func loadgenRow(ctx context.Context) (measured string, held bool, err error) {
	python, err := witness(ctx)
	if err != nil {
		return "", false, err
	}
	server, err := startSlow(ctx)
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	rounds, trial := loadgenRounds, loadgenTrial
	if *short {
		rounds, trial = 1, 2*time.Second
	}
	var ours, theirs, ratios []float64
	var cores float64
	for range rounds {
		own, err := ownPeak(ctx, server.url, trial)
		if err != nil {
			return "", false, err
		}
		found, err := loadgenPeak(ctx, python, server.url, trial)
		if err != nil {
			return "", false, err
		}
		ours, theirs, ratios = append(ours, own), append(theirs, found.Target), append(ratios, own/found.Target)
		cores = max(cores, found.Cores)
	}
	ratio := median(ratios)
	return fmt.Sprintf("%+.1f %% (%.0f/s against %.0f/s; LoadGen took %.2f of a core)", 100*(ratio-1), median(ours), median(theirs), cores),
		math.Abs(ratio-1) <= 0.05, nil
}

// witness makes the environment and returns its Python.
func witness(ctx context.Context) (string, error) {
	c := exec.CommandContext(ctx, "bench/peers/serving/environments.sh", environments, "witness")
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return "", err
	}
	python := filepath.Join(environments, "witness", "bin", "python")
	if err := exec.CommandContext(ctx, python, "-c", "import mlperf_loadgen").Run(); err != nil {
		return "", fmt.Errorf("LoadGen does not install: %s/witness.log says why", environments)
	}
	return python, nil
}

// thrumServer is thrum, serving one model.
type thrumServer struct {
	command *exec.Cmd
	folder  string
	url     string
}

func startSlow(ctx context.Context) (*thrumServer, error) {
	folder, err := os.MkdirTemp("", "thrum-bench-loadtest-")
	if err != nil {
		return nil, err
	}
	err = errors.Join(os.MkdirAll(filepath.Join(folder, "slow", "1"), 0o755),
		os.WriteFile(filepath.Join(folder, "slow", "model.yaml"), []byte(slowModel), 0o644))
	var web, admin string
	if err == nil {
		web, admin, err = freeAddresses()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	s := &thrumServer{folder: folder, url: "http://" + web,
		command: exec.CommandContext(ctx, "./thrum", "serve", "--models", folder, "--control", "none", "--http", web, "--admin", admin)}
	var log strings.Builder
	s.command.Stderr = &log
	if err := s.command.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: make build builds the server", err), os.RemoveAll(folder))
	}
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(err, s.stop(), errors.New(log.String()))
	}
	return s, nil
}

// await waits for the model.
func (s *thrumServer) await(ctx context.Context) error {
	for deadline := time.Now().Add(20 * time.Second); ; {
		reply, err := http.Get(s.url + "/v2/models/slow/ready")
		if err == nil {
			_ = reply.Body.Close() // of which nothing was read
			if reply.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return errors.Join(errors.New("thrum did not become ready"), err, ctx.Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *thrumServer) stop() error {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	killer := time.AfterFunc(20*time.Second, func() { _ = s.command.Process.Kill() })
	defer killer.Stop()
	_ = s.command.Wait() // a server that we ended may say so in its status
	return os.RemoveAll(s.folder)
}

// freeAddresses returns two that are free now.
func freeAddresses() (a, b string, err error) {
	one, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer one.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer other.Close()
	return one.Addr().String(), other.Addr().String(), nil
}

var ownPeakLine = regexp.MustCompile(`(\d+(?:\.\d+)?)/s, goodput`)

func ownPeak(ctx context.Context, url string, trial time.Duration) (float64, error) {
	c := exec.CommandContext(ctx, "./thrum", "loadtest", "peak", "--url", url, "--model", "slow", "--binary", "--arrivals", "poisson",
		"--slo", "p99<="+loadgenLimit.String(), "--start", strconv.Itoa(loadgenStart), "--duration", trial.String())
	out, err := c.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("thrum loadtest peak: %w: %s", err, end(out))
	}
	found := ownPeakLine.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("thrum loadtest peak says no rate: %s", end(out))
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// end is the end of what a program has printed, where its verdict is.
func end(out []byte) []byte { return out[max(0, len(out)-800):] }

// loadgenFound is what loadgen.py prints.
type loadgenFound struct {
	Target float64 // requests/s, the peak
	Valid  bool
	Failed int     // requests that were not answered with 200
	Cores  float64 // that LoadGen and its client took
}

func loadgenPeak(ctx context.Context, python, url string, trial time.Duration) (found loadgenFound, err error) {
	c := exec.CommandContext(ctx, python, "bench/peers/serving/loadgen.py", url+"/v2/models/slow/infer", "784", "--find",
		"--qps", strconv.Itoa(loadgenStart), "--limit-ms", strconv.FormatInt(loadgenLimit.Milliseconds(), 10),
		"--duration", strconv.FormatFloat(trial.Seconds(), 'f', -1, 64))
	out, err := c.CombinedOutput()
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	switch {
	case err != nil:
		return found, fmt.Errorf("LoadGen: %w: %s", err, end(out))
	case found.Failed > 0:
		return found, fmt.Errorf("%d of LoadGen's requests failed", found.Failed)
	case found.Target <= loadgenStart:
		return found, fmt.Errorf("LoadGen finds that the server does not hold %d/s: a quieter machine would", loadgenStart)
	}
	return found, nil
}
