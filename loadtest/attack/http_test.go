package attack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

// serve answers each connection by a function, until the test ends. n counts connections from 1; the
// first one is the attack's look at whether there is a server.
func serve(t *testing.T, handle func(c *net.TCPConn, in *bufio.Reader, n int32)) *HTTP {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var n atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c.(*net.TCPConn), bufio.NewReader(c), n.Add(1))
			}()
		}
	}()
	return &HTTP{URL: "http://" + l.Addr().String() + "/infer"}
}

// requested reads a request and says whether there was one.
func requested(in *bufio.Reader) bool {
	r, err := http.ReadRequest(in)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	return err == nil
}

// answering answers every request of a connection with a text.
func answering(text string) func(*net.TCPConn, *bufio.Reader, int32) {
	return func(c *net.TCPConn, in *bufio.Reader, _ int32) {
		for requested(in) {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// once answers one request with a text and closes the connection.
func once(text string) func(*net.TCPConn, *bufio.Reader, int32) {
	return func(c *net.TCPConn, in *bufio.Reader, _ int32) {
		if requested(in) {
			_, _ = io.WriteString(c, text)
		}
	}
}

func attackHere(t *testing.T, o Options) *result.Run {
	t.Helper()
	if o.Requests == nil {
		o.Requests = []Request{{Body: []byte("{}"), Rows: 1}}
	}
	run, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// ways are the two by which a server is attacked.
func ways(t *testing.T, h *HTTP, test func(t *testing.T, target Target)) {
	t.Helper()
	t.Run("loop", func(t *testing.T) { test(t, h) })
	t.Run("goroutines", func(t *testing.T) { test(t, wrapped{h}) })
}

// wrapped hides that a target is HTTP.
type wrapped struct{ Target }

// The server goes away with its first answer.
func TestClosedLoopDoesNotSpinAtAPortWithoutAServer(t *testing.T) {
	for _, way := range []string{"loop", "goroutines"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if requested(bufio.NewReader(c)) { // unlike the attack's look at whether there is a server
					l.Close()
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				}
				c.Close()
			}
		}()
		var target Target = &HTTP{URL: "http://" + l.Addr().String() + "/infer"}
		if way == "goroutines" {
			target = wrapped{target}
		}
		run := attackHere(t, Options{Target: target, Concurrency: 1, Duration: time.Second})
		s := run.Steps[0]
		if s.Count(result.OK) != 1 || s.Count(result.Broken) == 0 || s.Total() > 2+refusedInASecond || !strings.Contains(run.Causes[result.Broken], "refused") {
			t.Errorf("%s: %d answers, %d broken because of %q, want one and at most %d tries", way, s.Count(result.OK), s.Count(result.Broken), run.Causes[result.Broken], refusedInASecond)
		}
	}
}

func TestServersOfAllKinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle func(*net.TCPConn, *bufio.Reader, int32)
		want   result.Outcome
		cause  string
	}{
		{"a good one", answering(hello), result.OK, ""},
		{"one that answers in chunks", answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), result.OK, ""},
		{"one that says that it closes", once("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"), result.OK, ""},
		{"one whose answers end with the connection", once("HTTP/1.1 200 OK\r\n\r\nhello"), result.OK, ""},
		{"one that says 100 first", answering("HTTP/1.1 100 Continue\r\n\r\n" + hello), result.OK, ""},
		{"one with many headers", answering("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Header: value\r\n", 1000) + "Content-Length: 0\r\n\r\n"), result.OK, ""},
		{"one that answers more than it was asked", answering(hello + hello), result.OK, ""},
		{"one that writes byte by byte", func(c *net.TCPConn, in *bufio.Reader, _ int32) {
			for requested(in) {
				for i := range hello {
					if _, err := io.WriteString(c, hello[i:i+1]); err != nil {
						return
					}
				}
			}
		}, result.OK, ""},
		{"one that answers before it has read", func(c *net.TCPConn, in *bufio.Reader, _ int32) {
			if _, err := in.ReadByte(); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, in)
			}
		}, result.Failed, "status 413"},
		{"one that refuses", answering("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy"), result.Rejected, "status 429: busy"},
		{"one that closes without a word", once(""), result.Broken, "closed"},
		{"one that closes within its head", once("HTTP/1.1 200 OK\r\nContent-"), result.Broken, "closed"},
		{"one that closes within its body", once("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), result.Broken, "closed"},
		{"one that resets", func(c *net.TCPConn, in *bufio.Reader, _ int32) {
			if requested(in) {
				_ = c.SetLinger(0)
			}
		}, result.Broken, "reset"},
		{"one that speaks something else", answering("220 smtp.example.com ESMTP\r\n"), result.Broken, "no HTTP/1 status"},
		{"one with a head without end", answering("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 20000)), result.Broken, "longer than"},
		{"one with a body without end", answering("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), result.Broken, "at most"},
		{"one that never answers", answering(""), result.Late, "no answer within"},
		{"one that never ends", answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"), result.Late, "no answer within"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ways(t, serve(t, c.handle), func(t *testing.T, target Target) {
				timeout := map[bool]time.Duration{true: 200 * ms, false: 20 * time.Second}[c.want == result.Late]
				run := attackHere(t, Options{Target: target, Schedule: even(t, 200, 100*ms), Timeout: timeout,
					Requests: []Request{{Body: bytes.Repeat([]byte("x"), 20<<10)}}})
				s := run.Steps[0]
				if c.want == result.Late {
					// A machine under load may find other reasons in so short a time.
					if s.Count(c.want) == 0 || s.Count(result.OK) > 0 || !strings.Contains(run.Causes[c.want], c.cause) {
						t.Errorf("%d of %d are %q because of %q, want some because of %q", s.Count(c.want), s.Total(), c.want, run.Causes[c.want], c.cause)
					}
					return
				}
				if s.Count(c.want) != 20 || s.Total() != 20 || !strings.Contains(run.Causes[c.want], c.cause) {
					t.Errorf("%d of %d are %q because of %q, want 20 because of %q (%v)", s.Count(c.want), s.Total(), c.want, run.Causes[c.want], c.cause, run.Causes)
				}
			})
		})
	}
}

// What is sent is what net/http reads, small and large, JSON and binary, and what comes back is checked.
func TestRequestsArriveAsTheyAre(t *testing.T) {
	type seen struct{ path, host, kind, head, cache, body string }
	var last atomic.Pointer[seen]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last.Store(&seen{r.URL.String(), r.Host, r.Header.Get("Content-Type"), r.Header.Get("Inference-Header-Content-Length"), r.Header.Get("Cache-Control"), string(body)})
		w.Header().Set("Inference-Header-Content-Length", "2")
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	large := strings.Repeat("0123456789", 1<<20)
	for _, c := range []struct {
		name    string
		request Request
		want    seen
	}{
		{"json", Request{Body: []byte("{}")}, seen{"/v2/x?y=z", host, "application/json", "", "no-store", "{}"}},
		{"binary", Request{Body: []byte("{}\x00\x01"), Head: 2}, seen{"/v2/x?y=z", host, "application/octet-stream", "2", "no-store", "{}\x00\x01"}},
		{"large", Request{Body: []byte(large)}, seen{"/v2/x?y=z", host, "application/json", "", "no-store", large}},
		{"empty", Request{}, seen{"/v2/x?y=z", host, "application/json", "", "no-store", ""}},
	} {
		h := &HTTP{URL: server.URL + "/v2/x?y=z", Header: http.Header{"Cache-Control": {"no-store"}}}
		ways(t, h, func(t *testing.T, target Target) {
			run := attackHere(t, Options{Target: target, Requests: []Request{c.request}, Schedule: even(t, 100, 30*ms), Check: Check{1, func(_ int, r Reply) error {
				if !bytes.Equal(r.Body, c.request.Body) || r.Head != 2 || r.Status != 200 {
					return fmt.Errorf("status %d, head %d, %d bytes of body", r.Status, r.Head, len(r.Body))
				}
				return nil
			}}})
			if s := run.Steps[0]; s.Count(result.OK) != 3 || run.Server.Checked != 3 {
				t.Errorf("%s: %d answers, %d checked, want 3 (%v)", c.name, s.Count(result.OK), run.Server.Checked, run.Causes)
			}
			if got := *last.Load(); got != c.want {
				t.Errorf("%s: the server has got %.300v, want %.300v", c.name, got, c.want)
			}
		})
	}
}

func TestTargetsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		h    HTTP
		want string
	}{
		{HTTP{URL: "127.0.0.1:8000"}, "address"},
		{HTTP{URL: "ftp://127.0.0.1/"}, "not like http://host:port/path"},
		{HTTP{URL: "http:///path"}, "not like http://host:port/path"},
		{HTTP{URL: "http://127.0.0.1:1/"}, "cannot reach 127.0.0.1:1: "},
		{HTTP{URL: "http://127.0.0.1/", Header: http.Header{"content-length": {"5"}}}, "leave it out"},
		{HTTP{URL: "http://127.0.0.1/", Header: http.Header{"X": {"a\r\nb"}}}, "break the request apart"},
		{HTTP{URL: "http://127.0.0.1/", Header: http.Header{"X:": {"a"}}}, "break the request apart"},
	} {
		for _, target := range []Target{&c.h, wrapped{&c.h}} {
			_, err := Run(t.Context(), Options{Target: target, Requests: []Request{{}}, Schedule: even(t, 10, time.Second)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: error %v, want one with %q", c.h, err, c.want)
			}
		}
	}
}

// A connection is used again, and as many are opened as requests are under way at a time.
func TestConnectionsAreKept(t *testing.T) {
	var opened atomic.Int32
	h := serve(t, func(c *net.TCPConn, in *bufio.Reader, n int32) {
		opened.Store(n)
		answering(hello)(c, in, n)
	})
	attackHere(t, Options{Target: h, Concurrency: 3, Duration: 200 * ms})
	if got := opened.Load(); got != 4 {
		t.Errorf("%d connections, want 3 and one to see whether there is a server", got)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	var now, most atomic.Int32
	release := make(chan struct{})
	h := serve(t, func(c *net.TCPConn, in *bufio.Reader, _ int32) {
		for requested(in) {
			most.Store(max(most.Load(), now.Add(1)))
			<-release
			now.Add(-1)
			if _, err := io.WriteString(c, hello); err != nil {
				return
			}
		}
	})
	time.AfterFunc(100*ms, func() { close(release) })
	run := attackHere(t, Options{Target: h, Schedule: even(t, 1000, 50*ms), Connections: 5})
	if s := run.Steps[0]; s.Count(result.OK) != 50 || most.Load() > 5 {
		t.Errorf("%d answers on %d connections, want 50 on 5", s.Count(result.OK), most.Load())
	}
	if run.Generator.Queued < 40 {
		t.Errorf("%d requests waited for a connection, want nearly all of 50", run.Generator.Queued)
	}
}

// A server that goes away in the middle costs what it does not answer, and nothing else.
func TestServerThatGoesAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}
	go func() { _ = server.Serve(l) }()
	seen := 0
	run := attackHere(t, Options{
		Target: &HTTP{URL: "http://" + l.Addr().String()}, Schedule: even(t, 100, 2*time.Second),
		OnWindow: func(result.Window) {
			if seen++; seen == 1 {
				_ = server.Close()
			}
		},
	})
	s := run.Steps[0]
	if s.Count(result.OK) < 20 || s.Count(result.Broken) < 20 || s.Total() != 200 {
		t.Errorf("%d answered, %d broken of %d because of %q", s.Count(result.OK), s.Count(result.Broken), s.Total(), run.Causes[result.Broken])
	}
}

func TestEndOfContextEndsAnAttackOfAServer(t *testing.T) {
	ways(t, serve(t, answering("")), func(t *testing.T, target Target) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*ms, func() { cancel(errors.New("interrupted")) })
		run, err := Run(ctx, Options{Target: target, Requests: []Request{{}}, Schedule: even(t, 100, time.Minute), Timeout: time.Minute})
		if err != nil || run.Stopped != "interrupted" || run.Took > 10*time.Second || len(run.Steps) != 1 {
			t.Errorf("stopped because of %q after %v with %v", run.Stopped, run.Took, err)
		}
	})
}

func TestNothingIsAllocatedForARequest(t *testing.T) {
	server := serve(t, answering(hello))
	requests := []Request{{Body: []byte("{}")}}
	small, large := even(t, 2000, 100*ms), even(t, 2000, 600*ms)
	attack := func(s schedule.Schedule) func() {
		return func() {
			if _, err := Run(t.Context(), Options{Target: server, Requests: requests, Schedule: s, Connections: 4}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The server allocates in this process too: what it does is measured by a plain client.
	few, many := testing.AllocsPerRun(1, attack(small)), testing.AllocsPerRun(1, attack(large))
	theirs := testing.AllocsPerRun(1000, func() {
		requested(bufio.NewReader(strings.NewReader("POST /infer HTTP/1.1\r\nHost: 127.0.0.1:12345\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")))
	})
	if each := (many-few)/1000 - theirs; each > 0.5 {
		t.Errorf("a request takes %.2f allocations more than the server's %.0f, want none", each, theirs)
	}
}

// Connections that are ready before the first start are used, and those that the server closes
// meanwhile break nothing.
func TestReadyConnections(t *testing.T) {
	var opened atomic.Int32
	h := serve(t, func(c *net.TCPConn, in *bufio.Reader, number int32) {
		opened.Add(1)
		if number%2 == 0 {
			return
		}
		for requested(in) {
			if _, err := io.WriteString(c, hello); err != nil {
				return
			}
		}
	})
	run := attackHere(t, Options{Target: h, Schedule: even(t, 100, 300*ms), Ready: 8})
	if n := opened.Load(); n < 8 {
		t.Errorf("%d connections, want 8 that are ready", n)
	}
	if s := run.Steps[0]; s.Total() != 30 || s.Count(result.OK) < 20 {
		t.Errorf("%d of %d requests are answered", s.Count(result.OK), s.Total())
	}
}

func TestWindowsSayHowManyConnectionsAreOpen(t *testing.T) {
	ways(t, serve(t, answering(hello)), func(t *testing.T, target Target) {
		run := attackHere(t, Options{Target: target, Concurrency: 3, Duration: 1100 * time.Millisecond})
		if got := run.Windows[0].Open; got != 3 {
			t.Errorf("%d are open after a second, want the 3 of a closed loop of 3", got)
		}
	})
}
