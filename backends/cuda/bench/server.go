//go:build cuda

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/bench/turns"
	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/oip"
	"github.com/thrumserve/thrum/loadtest/result"
)

// server is a thrum that serves one model.
type server struct {
	command     *exec.Cmd
	ended       chan struct{}
	said        *tail
	http, admin string // addresses
}

// served is the name of its model.
const served = "encoder"

// server measures what clients get, one row to a request, beside graphs that are replayed alone.
func (l *lab) server(ctx context.Context) (err error) {
	rows := l.served
	what, target := fmt.Sprintf("through the whole server, batches of %d, beside graph replay alone", rows), "≥ 0.92×"
	m, err := l.load(ctx, l.encoding, "bf16", rows)
	if err != nil {
		return l.failed(what, target, err)
	}
	defer m.Close()
	in := l.encoding.Batch(rows)
	want, err := answerOf(ctx, m, in)
	if err == nil {
		err = fill(ctx, m, in)
	}
	if err != nil {
		return l.failed(what, target, err)
	}
	dir, err := os.MkdirTemp(l.models, "server")
	if err != nil {
		return l.failed(what, target, err)
	}
	s, err := l.serve(ctx, dir, m.dir, rows)
	if err != nil {
		return l.failed(what, target, err)
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	requests, err := requestsOf(in)
	if err != nil {
		return l.failed(what, target, err)
	}
	load := attack.Options{
		Target:   &attack.HTTP{URL: "http://" + s.http + "/v2/models/" + served + "/infer", Header: http.Header{"Cache-Control": {"no-store"}}},
		Requests: requests, Concurrency: l.clients, Connections: l.clients, Ready: l.clients, WarmUp: l.Length / 2, Timeout: 10 * time.Second,
		Check: attack.Check{Share: 0.01, Equal: func(i int, r attack.Reply) error { return same(r, want[i*len(want)/rows:(i+1)*len(want)/rows]) }},
	}
	return l.loaded(ctx, s, load, replays(ctx, m, rows), what, target)
}

// loaded compares a server under load with replays.
func (l *lab) loaded(ctx context.Context, s *server, load attack.Options, alone turns.Side, what, target string) error {
	begin, err := s.sample(ctx)
	if err != nil {
		return l.failed(what, target, err)
	}
	clients := func(length time.Duration) (turns.Timing, error) {
		load.Duration = max(length, 100*time.Millisecond)
		run, err := attack.Run(ctx, load)
		if err != nil {
			return turns.Timing{}, err
		}
		step := run.Total()
		if step.Arrived == 0 || step.Count(result.OK) != step.Total() {
			return turns.Timing{}, fmt.Errorf("%d of %d requests were answered: %v", step.Count(result.OK), step.Total(), run.Causes)
		}
		return turns.Timing{Runs: int(step.Arrived), Clock: step.Duration}, nil
	}
	r, err := l.Compare(clients, func(length time.Duration) (turns.Timing, error) {
		t, err := alone(length)
		t.Runs *= l.served // rows, as the clients count
		return t, err
	})
	if err != nil {
		return l.failed(what, target, fmt.Errorf("%w; the server says: %s", err, s.said))
	}
	end, err := s.sample(ctx)
	if err != nil {
		return l.failed(what, target, err)
	}
	batches := end.batches - begin.batches
	plugin, host := (end.plugin-begin.plugin).Seconds()*1e6/batches, (end.host-begin.host).Seconds()*1e6/batches
	perSecond := func(d time.Duration) float64 { return 1 / d.Seconds() }
	l.found(line{Finding: turns.Finding{What: what,
		Measured: fmt.Sprintf("%v×; %.0f beside %.0f rows/s; %d connections, %.1f rows in a batch", r.Clock, perSecond(r.Own), perSecond(r.Other), l.clients, (end.rows-begin.rows)/batches),
		Target:   target, Verdict: turns.AtLeast(r.Clock, 0.92)},
		Figures: numbers("ratio", r.Clock.Median, "rows_per_second", perSecond(r.Own), "alone_rows_per_second", perSecond(r.Other), "rows_of_batch", (end.rows-begin.rows)/batches)})
	l.found(line{Finding: turns.Finding{What: "processor time per batch with the server",
		Measured: fmt.Sprintf("%.1f µs in the plugin, %.0f µs in the server", plugin, host)}, Figures: numbers("plugin_us", plugin, "server_us", host)})
	return nil
}

// serve starts a server of a model, whose plugin has the device, in a folder for its files.
func (l *lab) serve(ctx context.Context, dir, model string, rows int) (*server, error) {
	version := filepath.Join(dir, "models", served, "1")
	if err := os.MkdirAll(filepath.Dir(version), 0o700); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("backend: cuda\noptions: {precision: bf16}\nbatching: {max_rows: %d}\n", rows)
	err := errors.Join(os.CopyFS(version, os.DirFS(model)), os.WriteFile(filepath.Join(filepath.Dir(version), "model.yaml"), []byte(settings), 0o600))
	if err != nil {
		return nil, err
	}
	plugins, err := l.pluginFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &server{ended: make(chan struct{}), said: &tail{}}
	for _, address := range []*string{&s.http, &s.admin} {
		if *address, err = free(); err != nil {
			return nil, err
		}
	}
	thrum, err := l.program("thrum")
	if err != nil {
		return nil, err
	}
	s.command = exec.Command(thrum, "serve", "--models", filepath.Join(dir, "models"), "--plugin-path", plugins,
		"--control", "none", "--http", s.http, "--admin", s.admin, "--load-timeout", "120s")
	s.command.Stdout, s.command.Stderr = s.said, s.said
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	go func() { _ = s.command.Wait(); close(s.ended) }()
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// pluginFolder returns the folder of the plugin: that which is carried, or one in dir with this program,
// whose driver pretends.
func (l *lab) pluginFolder(dir string) (string, error) {
	if !l.pretend {
		program, err := l.program("thrum-backend-cuda")
		return filepath.Dir(program), err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	script := fmt.Sprintf("#!/bin/sh\nexport %s=1\nexec '%s'\n", pluginKey, self)
	return dir, os.WriteFile(filepath.Join(dir, "thrum-backend-cuda"), []byte(script), 0o700)
}

// ready waits until the model is.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for again := time.NewTicker(20 * time.Millisecond); ; {
		if _, err := get(ctx, "http://"+s.http+"/v2/models/"+served+"/ready"); err == nil {
			again.Stop()
			return nil
		}
		select {
		case <-again.C:
		case <-s.ended:
			return fmt.Errorf("the server has ended: %s", s.said)
		case <-ctx.Done():
			return fmt.Errorf("the server does not become ready: %s", s.said)
		}
	}
}

// stop ends the server, which ends its plugin.
func (s *server) stop() error {
	_ = s.command.Process.Signal(os.Interrupt)
	select {
	case <-s.ended:
		return nil
	case <-time.After(15 * time.Second):
		_ = s.command.Process.Kill()
		<-s.ended
		return fmt.Errorf("the server did not end: %s", s.said)
	}
}

// sample is what a server has done.
type sample struct {
	rows, batches float64
	host, plugin  time.Duration // of processors
}

func (s *server) sample(ctx context.Context) (sample, error) {
	text, err := get(ctx, "http://"+s.admin+"/metrics")
	if err != nil {
		return sample{}, err
	}
	all := sample{rows: metric(text, "thrum_batch_rows_sum{"), batches: metric(text, "thrum_batch_rows_count{")}
	if all.host, err = processorTime(s.command.Process.Pid); err != nil {
		return all, err
	}
	children, err := childrenOf(s.command.Process.Pid)
	for _, pid := range children {
		t, second := processorTime(pid)
		all.plugin, err = all.plugin+t, errors.Join(err, second)
	}
	return all, err
}

// metric returns the sum of the samples whose name and labels begin in that way.
func metric(text []byte, prefix string) float64 {
	sum := 0.0
	for row := range bytes.Lines(text) {
		if bytes.HasPrefix(row, []byte(prefix)) {
			v, _ := strconv.ParseFloat(string(bytes.TrimSpace(row[bytes.LastIndexByte(row, ' ')+1:])), 64)
			sum += v
		}
	}
	return sum
}

func get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %.200s", url, answer.Status, text)
	}
	return text, err
}

// free returns an address of this machine that nobody listens at.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// requestsOf makes a request of each row of a batch, in binary form.
func requestsOf(in backends.Batch) ([]attack.Request, error) {
	var all []attack.Request
	rows := in.Rows()
	for i := range rows {
		var r oip.Request
		for _, t := range in.Tensors {
			each := len(t.Data) / rows
			r.Inputs = append(r.Inputs, oip.Tensor{Name: t.Name, Datatype: oip.Datatype(t.Datatype.String()), Shape: append([]int64{1}, t.Shape[1:]...), Data: t.Data[i*each : (i+1)*each]})
		}
		body, head, err := oip.EncodeRequest(r, oip.Form{BinaryInputs: true, BinaryOutputs: true})
		if err != nil {
			return nil, err
		}
		all = append(all, attack.Request{Body: body, Head: head, Rows: 1})
	}
	return all, nil
}

// same compares an answer with that of the same row in this process.
func same(r attack.Reply, want []float32) error {
	answer, err := oip.DecodeResponse(r.Body, r.Head)
	if err != nil {
		return err
	}
	if len(answer.Outputs) != 1 {
		return fmt.Errorf("%d outputs are answered", len(answer.Outputs))
	}
	got, err := cosine(floats(bytes.Clone(answer.Outputs[0].Data)), want)
	if err == nil && !(got >= 0.999) || math.IsNaN(got) {
		err = fmt.Errorf("an answer's cosine with that of this process is %.4f", got)
	}
	return err
}

// processorTime returns what processors have done for a process.
func processorTime(pid int) (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	total := time.Duration(0)
	for _, name := range tasks {
		text, second := os.ReadFile(name)
		if second != nil {
			continue // a thread that has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		total += time.Duration(n)
	}
	if total == 0 && err == nil {
		return ticks(pid)
	}
	return total, err
}

// ticks is processorTime in hundredths of a second, where the kernel keeps nothing finer.
func ticks(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("process %d: its state is %q", pid, text)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, second := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err, second)
}

// childrenOf returns the processes that a process has started.
func childrenOf(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	var all []int
	for _, name := range stats {
		text, second := os.ReadFile(name)
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if second != nil || len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		child, second := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		all, err = append(all, child), errors.Join(err, second)
	}
	return all, err
}
