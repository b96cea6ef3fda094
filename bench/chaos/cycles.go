package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/thrumserve/thrum/bench/chaos/orders"
)

// readings are what a server held, one after the other.
type readings struct {
	resident, goroutines, descriptors []float64
}

// take reads after garbage has been collected, twice for what has to be finalized first, so that
// what is held is what is needed.
func (r *readings) take(s *server) error {
	for range 2 {
		if _, err := get("http://" + s.admin + "/debug/pprof/heap?gc=1"); err != nil {
			return err
		}
	}
	m, err := s.metrics("go_goroutines", "process_open_fds")
	if err != nil {
		return err
	}
	resident, err := residentBytes(s.cmd.Process.Pid)
	r.resident = append(r.resident, resident/1024)
	r.goroutines = append(r.goroutines, m["go_goroutines"])
	r.descriptors = append(r.descriptors, m["process_open_fds"])
	return err
}

// cyclesPerReading is how often a model is loaded and unloaded between two readings.
const cyclesPerReading = 2

// cycle loads, asks and unloads a model again and again, and reads what the server holds.
func cycle(ctx context.Context, s *server, cycles int) (readings, error) {
	var r readings
	c := newClient(s)
	for i := range cycles {
		if err := control(ctx, s, "load"); err != nil {
			return r, err
		}
		for range 4 {
			if o := c.ask(ctx, orders.Answer); !o.ok() {
				return r, fmt.Errorf("cycle %d: %v", i, o)
			}
		}
		if err := control(ctx, s, "unload"); err != nil {
			return r, err
		}
		if i%cyclesPerReading == 0 {
			if err := r.take(s); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

func control(ctx context.Context, s *server, verb string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.http+"/v2/repository/models/model/"+verb, nil)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(reply.Body)
		return fmt.Errorf("%s: %d %s", verb, reply.StatusCode, text)
	}
	return nil
}

// growth describes readings, and reports whether all of them, or some of them, grow.
func (r readings) growth() (text string, flat, allGrow bool) {
	memory, goroutines, descriptors := slopeOf(r.resident, cyclesPerReading), slopeOf(r.goroutines, cyclesPerReading), slopeOf(r.descriptors, cyclesPerReading)
	text = fmt.Sprintf("KiB %v, goroutines %v, descriptors %v", memory, goroutines, descriptors)
	flat = memory.flat() && goroutines.flat() && descriptors.flat()
	return text, flat, !memory.flat() && !goroutines.flat() && !descriptors.flat()
}

const cycled = "instances: 2\ncache: {max_bytes: 1MiB}\noptions: {takes: 0s}\n"

// loadAndUnload loads and unloads a model and looks for what stays behind. It does so twice, and
// counts the second time: in the first some 700 cycles the runtime's own books, of stacks that
// allocate and of spans that are free, grow by a percent and a half of what the host holds, then
// no more.
func loadAndUnload(ctx context.Context, l *lab) ([]finding, error) {
	s, err := l.serve(ctx, cycled, "--control", "explicit")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	_, err = cycle(ctx, s, l.cycles)
	var r readings
	if err == nil {
		r, err = cycle(ctx, s, l.cycles)
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.log())
	}
	text, flat, _ := r.growth()
	return []finding{{fmt.Sprintf("%d × load and unload after as many: growth of the host per cycle", l.cycles), text, "every 95 % interval holds 0", flat}}, nil
}

// leakOnPurpose shows that the test above sees a leak: of the host, and of a plugin.
func leakOnPurpose(ctx context.Context, l *lab) ([]finding, error) {
	host, err := leakInHost(ctx, l)
	if err != nil {
		return nil, err
	}
	plugin, err := leakInPlugin(ctx, l)
	return append(host, plugin...), err
}

func leakInHost(ctx context.Context, l *lab) ([]finding, error) {
	s, err := l.serveLeaking(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	cycles := min(l.cycles, 100)
	r, err := cycle(ctx, s, cycles)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.log())
	}
	text, _, allGrow := r.growth()
	return []finding{{fmt.Sprintf("the same with a host that leaks, %d ×", cycles), text, "caught", allGrow}}, nil
}

// leakInPlugin asks a plugin for answers that do not leak, and then for some that do.
func leakInPlugin(ctx context.Context, l *lab) ([]finding, error) {
	s, err := l.serve(ctx, "options: {takes: 0s}\n")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	healthy, err := ask(ctx, s, orders.Answer, 10*l.asks)
	if err != nil {
		return nil, err
	}
	leaking, err := ask(ctx, s, orders.Leak, l.asks)
	if err != nil {
		return nil, err
	}
	flat, grows := slopeOf(healthy, 1), slopeOf(leaking, 1)
	return []finding{
		{"growth of a plugin per request in the midst of good ones", "KiB " + flat.String(), "the 95 % interval holds 0", flat.flat()},
		{"the same where each leaks 1 MiB", "KiB " + grows.String(), "caught", !grows.flat()},
	}, nil
}

// ask returns the memory of the only instance in the midst of good requests, and after each of n
// with an order.
func ask(ctx context.Context, s *server, order orders.Order, n int) ([]float64, error) {
	var memory []float64
	c := newClient(s)
	pids := s.instances()
	if len(pids) != 1 {
		return nil, fmt.Errorf("instances are %v", pids)
	}
	load := c.pace(2000)
	defer load.stop()
	for range n {
		if o := c.ask(ctx, order); !o.ok() {
			return nil, fmt.Errorf("%v", o)
		}
		pause(ctx, 40*time.Millisecond)
		resident, err := residentBytes(pids[0])
		if err != nil {
			return nil, err
		}
		memory = append(memory, resident/1024)
	}
	return memory, nil
}
