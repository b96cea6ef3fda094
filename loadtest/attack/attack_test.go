package attack

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

func even(rate float64, d time.Duration) schedule.Schedule {
	s := schedule.Schedule{Profile: "even", Steps: []schedule.Step{{Name: "all", End: d, Rate: rate}}}
	for i := range int(rate * d.Seconds()) {
		s.Starts = append(s.Starts, time.Duration(float64(i)/rate*1e9))
	}
	return s
}

func echo(t *testing.T) *HTTP {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	t.Cleanup(server.Close)
	return &HTTP{URL: server.URL}
}

func TestOpenLoopGetsEveryAnswer(t *testing.T) {
	run, err := Run(t.Context(), Options{Target: echo(t), Requests: []Request{{Body: []byte("hello"), Rows: 2}}, Schedule: even(1000, 2*time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	s := run.Steps[0]
	t.Log(s.Count(result.OK), s.Intended(result.OK).Quantiles(.5, .99, 1), s.Sent(result.OK).Quantiles(.5, .99, 1), run.Generator.Delay.Quantiles(.5, .9, .99, 1))
}

func TestClosedLoop(t *testing.T) {
	run, err := Run(t.Context(), Options{Target: echo(t), Requests: []Request{{Body: []byte("hello"), Rows: 2}}, Concurrency: 16, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s := run.Steps[0]
	t.Log(s.Count(result.OK), s.Intended(result.OK).Quantiles(.5, .99, 1), s.Sent(result.OK).Quantiles(.5, .99, 1), run.Generator.Delay.Quantiles(.5, .9, .99, 1))
}
