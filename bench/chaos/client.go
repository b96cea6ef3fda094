package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/bench/chaos/orders"
)

// mostClients bounds how many requests are under way.
const mostClients = 256

// client asks one server. Every request has a number of its own.
type client struct {
	http *http.Client
	url  string
	last atomic.Int64 // number given out
}

func newClient(s *server) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: mostClients, MaxConnsPerHost: mostClients, DisableCompression: true}
	return &client{
		http: &http.Client{Transport: transport, Timeout: time.Minute},
		url:  "http://" + s.http + "/v2/models/model/infer",
	}
}

// outcome is what became of a request.
type outcome struct {
	due, end   time.Time // when it should have been sent; when the reply was there
	status     int       // 0 for none
	retryAfter bool      // the reply says when to try again
	wrong      bool      // a 200 with another answer than its own
	text       string    // of a reply that is no 200, or why there is none
}

func (o outcome) ok() bool            { return o.status == http.StatusOK && !o.wrong }
func (o outcome) took() time.Duration { return o.end.Sub(o.due) }
func (o outcome) refusedInOrder() bool {
	return o.status == http.StatusServiceUnavailable && o.retryAfter
}

// ask sends a row with an order and the next number.
func (c *client) ask(ctx context.Context, order orders.Order) outcome {
	return c.askNumber(ctx, order, c.last.Add(1), time.Now())
}

func (c *client) askNumber(ctx context.Context, order orders.Order, x int64, due time.Time) (o outcome) {
	o.due = due
	defer func() { o.end = time.Now() }()
	body := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,2],"datatype":"INT64","data":[%d,%d]}]}`, order, x)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		o.text = err.Error()
		return o
	}
	reply, err := c.http.Do(request)
	if err != nil {
		o.text = err.Error()
		return o
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		o.text = err.Error()
		return o
	}
	o.status, o.retryAfter = reply.StatusCode, reply.Header.Get("Retry-After") != ""
	if o.status != http.StatusOK {
		o.text = string(text)
		return o
	}
	o.wrong = !answers(text, x)
	return o
}

// answers reports whether a reply is the one to x.
func answers(reply []byte, x int64) bool {
	var r struct {
		Outputs []struct {
			Name  string
			Shape []int64
			Data  []int64
		}
	}
	err := json.Unmarshal(reply, &r)
	return err == nil && len(r.Outputs) == 1 && r.Outputs[0].Name == "y" &&
		slices.Equal(r.Outputs[0].Shape, []int64{1, 1}) && slices.Equal(r.Outputs[0].Data, []int64{orders.Reply(x)})
}

// peak returns the requests a second that clients get which wait for each answer.
func (c *client) peak(ctx context.Context) (float64, error) {
	const clients, lasts = 32, 1500 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var answered atomic.Int64
	var first atomic.Pointer[outcome]
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for ctx.Err() == nil {
				if o := c.ask(context.WithoutCancel(ctx), orders.Answer); o.ok() {
					answered.Add(1)
				} else {
					first.CompareAndSwap(nil, &o)
				}
			}
		})
	}
	wait.Wait()
	if o := first.Load(); o != nil {
		return 0, fmt.Errorf("before anything was broken: %d %s, wrong %v", o.status, o.text, o.wrong)
	}
	return float64(answered.Load()) / lasts.Seconds(), nil
}

// traffic is good requests that come at a fixed rate.
type traffic struct {
	stopping atomic.Bool
	workers  sync.WaitGroup

	mu       sync.Mutex
	outcomes []outcome
}

// pace begins traffic: request i is due i/rate after the beginning.
func (c *client) pace(rate float64) *traffic {
	t := &traffic{}
	begin := time.Now()
	var next atomic.Int64
	for range mostClients {
		t.workers.Go(func() {
			var own []outcome
			for {
				due := begin.Add(time.Duration(float64(next.Add(1)) / rate * float64(time.Second)))
				time.Sleep(time.Until(due))
				if t.stopping.Load() {
					break
				}
				own = append(own, c.askNumber(context.Background(), orders.Answer, c.last.Add(1), due))
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			t.outcomes = append(t.outcomes, own...)
		})
	}
	return t
}

// stop ends the traffic and returns what became of it, in the order in which it was due.
func (t *traffic) stop() []outcome {
	t.stopping.Store(true)
	t.workers.Wait()
	slices.SortFunc(t.outcomes, func(a, b outcome) int { return a.due.Compare(b.due) })
	return t.outcomes
}

// load7 begins traffic at seven tenths of the peak.
func (c *client) load7(ctx context.Context) (*traffic, float64, error) {
	peak, err := c.peak(ctx)
	if err != nil {
		return nil, 0, err
	}
	return c.pace(0.7 * peak), 0.7 * peak, nil
}

// tally counts outcomes.
type tally struct {
	all, ok, wrong, refused, other int
	example                        string // of one that was not answered
}

func count(outcomes []outcome) tally {
	t := tally{all: len(outcomes)}
	for _, o := range outcomes {
		switch {
		case o.ok():
			t.ok++
		case o.wrong:
			t.wrong++
		case o.refusedInOrder() || o.status == http.StatusTooManyRequests:
			t.refused++
			t.example = cmp.Or(t.example, o.example())
		default:
			t.other++
			t.example = o.example()
		}
	}
	return t
}

func (o outcome) example() string { return fmt.Sprintf(" (such as %d %.150s)", o.status, o.text) }

func (t tally) lost() int { return t.refused + t.other }

// percentile returns the latency that a share of outcomes does not exceed. No answer is a slow one.
func percentile(outcomes []outcome, share float64) time.Duration {
	if len(outcomes) == 0 {
		return 0
	}
	all := make([]time.Duration, len(outcomes))
	for i, o := range outcomes {
		all[i] = o.took()
		if !o.ok() {
			all[i] = time.Hour
		}
	}
	slices.Sort(all)
	return all[min(int(share*float64(len(all))), len(all)-1)]
}
