package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/null"
	"github.com/thrumserve/thrum/batching"
	"github.com/thrumserve/thrum/plugins"
	"github.com/thrumserve/thrum/plugins/host"
	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/rest"
)

// single is a catalog of one model, which is always there.
type single struct{ version catalog.Version }

func (s *single) Ready() bool { return true }

func (s *single) Acquire(string, string) (*catalog.Version, func(), error) {
	return &s.version, func() {}, nil
}
func (s *single) Index() []catalog.Entry               { return nil }
func (s *single) Load(context.Context, string) error   { return backends.ErrUnsupported }
func (s *single) Unload(context.Context, string) error { return backends.ErrUnsupported }

// serveFront is the server around a null model, in a plugin process or in its own. It says its
// address and, if there is one, the plugin's process id, and ends with its input.
func serveFront(inPlugin bool) error {
	ctx := context.Background()
	model, err := openNull(ctx, inPlugin)
	if err != nil {
		return err
	}
	defer func() { _ = model.Close() }()
	o := batching.Options{MaxRows: 64, MaxQueueRows: 1024, Inflight: 2}
	if inPlugin { // in the same process each of both executes
		o.Instances = 1
	}
	batcher, err := batching.New(model, model.Signature(), o)
	if err != nil {
		return err
	}
	front, err := rest.New(&single{catalog.Version{
		Model: "null", Version: "1", Versions: []string{"1"}, Signature: model.Signature(), Predictor: batcher,
		Deadline: 10 * time.Second, Live: func(time.Time) error { return nil },
	}}, rest.Options{})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- front.Serve(l) }()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return errors.Join(front.Shutdown(ctx), <-served)
}

func openNull(ctx context.Context, inPlugin bool) (backends.Model, error) {
	spec := backends.Spec{Model: "null", Version: "1", MaxRows: 64}
	if !inPlugin {
		return null.New().Load(ctx, spec)
	}
	log := slog.New(slog.DiscardHandler)
	return host.Open(ctx, host.Options{
		Command: plugins.Command{Path: self(), Env: append(os.Environ(), roleKey+"=plugin")},
		Plugin:  plugins.Options{Name: "null", Log: log}, Spec: spec, Log: log,
	})
}

// front is such a server, and the connections to it.
type front struct {
	cmd         *exec.Cmd
	in          io.WriteCloser
	connections []*connection
	request     []byte
}

func startFront(role string) (*front, error) {
	f := &front{cmd: exec.Command(self())}
	f.cmd.Env = append(os.Environ(), roleKey+"="+role)
	f.cmd.Stderr = os.Stderr
	in, err := f.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	f.in = in
	var address string
	if _, err := fmt.Fscanln(out, &address); err != nil {
		f.close()
		return nil, err
	}
	for range callers {
		c, err := net.Dial("tcp", address)
		if err != nil {
			f.close()
			return nil, err
		}
		f.connections = append(f.connections, &connection{c, bufio.NewReader(c)})
	}
	f.request = inferRequest(address)
	return f, nil
}

// inferRequest sends a row of 784 floats in the protocol's binary form.
func inferRequest(address string) []byte {
	const width = 784
	head, err := json.Marshal(map[string]any{
		"inputs":     []any{map[string]any{"name": "x", "shape": []int{1, width}, "datatype": "FP32", "parameters": map[string]any{"binary_data_size": 4 * width}}},
		"parameters": map[string]any{"binary_data_output": true},
	})
	exitOn(err)
	return fmt.Appendf(nil, "POST /v2/models/null/infer HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\nInference-Header-Content-Length: %d\r\n\r\n%s%s",
		address, len(head)+4*width, len(head), head, make([]byte, 4*width))
}

func (f *front) close() {
	for _, c := range f.connections {
		_ = c.Close()
	}
	_ = f.in.Close()
	_ = f.cmd.Wait() // it ends with its input
}

// pids are the server and its plugin.
func (f *front) pids() ([]int, error) {
	pid := f.cmd.Process.Pid
	all := []int{pid}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, err
	}
	for _, task := range tasks {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(children)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		}
	}
	return all, nil
}

func (f *front) run(_ context.Context, d time.Duration) (int, time.Duration, error) {
	counts, errs := make([]int, len(f.connections)), make([]error, len(f.connections))
	begin := time.Now()
	var all sync.WaitGroup
	for i, c := range f.connections {
		all.Go(func() {
			for errs[i] == nil && time.Since(begin) < d {
				errs[i] = c.roundTrip(f.request)
				counts[i]++
			}
		})
	}
	all.Wait()
	took, total := time.Since(begin), 0
	for _, n := range counts {
		total += n
	}
	return total, took, errors.Join(errs...)
}

// connection is a kept-alive HTTP connection that does as little as a client can.
type connection struct {
	net.Conn
	in *bufio.Reader
}

// roundTrip sends the request and reads the whole reply, which must be a 200.
func (c *connection) roundTrip(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	status, length := "", 0
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSpace(line)
		if line == "" {
			break
		}
		if status == "" {
			status = line
		}
		if value, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if length, err = strconv.Atoi(value); err != nil {
				return err
			}
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200 ") {
		return fmt.Errorf("%s: %s", status, body)
	}
	return nil
}

func compareFronts(ctx context.Context, o options, table io.Writer) error {
	ours, err := startFront("front plugin")
	if err != nil {
		return err
	}
	defer ours.close()
	base, err := startFront("front alone")
	if err != nil {
		return err
	}
	defer base.close()
	oursPIDs, err := ours.pids()
	if err != nil {
		return err
	}
	return compare(ctx, o, table, target{of: fmt.Sprintf("the whole server, %d connections", callers), rate: true, bound: 0.85},
		side{"in a plugin", oursPIDs, ours.run}, side{"in the server", []int{base.cmd.Process.Pid}, base.run})
}
