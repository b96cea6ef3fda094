package rest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// dial opens a connection that fails the test rather than hang.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// replies reads whatever the server sends until it closes the connection.
func replies(t *testing.T, c net.Conn) (all []answer) {
	t.Helper()
	r := bufio.NewReader(c)
	for {
		if _, err := r.Peek(1); err == io.EOF {
			return all
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("after %d replies: %v", len(all), err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("after %d replies: %v", len(all), err)
		}
		all = append(all, answer{resp.StatusCode, resp.Header, body})
	}
}

func TestHostileBytes(t *testing.T) {
	_, addr := start(t, newFake(), Options{MaxBodyBytes: 4096, ReadTimeout: time.Second})
	post := func(headers, body string) string {
		return "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n" + body
	}
	const smuggled = "GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
	chunks := ""
	for _, ch := range healthyBody {
		chunks += fmt.Sprintf("1\r\n%c\r\n", ch)
	}
	closing := "Connection: close\r\n"
	for _, row := range []struct {
		situation, bytes string
		status           int
		want             string
	}{
		{"silence", "", 408, "did not arrive within 1s"},
		{"slow header", "POST /v2/models/m/infer HT", 408, "did not arrive within 1s"},
		{"slow body", post("Content-Length: 100\r\n", `{"inputs"`), 408, "did not arrive within 1s"},
		{"slow large body", post("Content-Length: 4000\r\n", strings.Repeat(" ", 3999)), 408, "did not arrive within 1s"},
		{"slow chunks", post("Transfer-Encoding: chunked\r\n", "5\r\n{\"inp"), 408, "did not arrive within 1s"},
		{"no HTTP", "hello\r\n\r\n", 400, "malformed HTTP"},
		{"no host", "GET /v2 HTTP/1.1\r\n\r\n", 400, "malformed HTTP"},
		{"negative length", post("Content-Length: -1\r\n", ""), 400, "malformed HTTP"},
		{"two lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n", "{}"), 400, "malformed HTTP"},
		{"bad chunk", post("Transfer-Encoding: chunked\r\n", "zz\r\n"), 400, "malformed HTTP"},
		{"space before colon", "GET /v2 HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400, "malformed HTTP"},
		{"length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled), 400, "send one of them"},
		{"chunks and length", post("Transfer-Encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n"+smuggled), 400, "send one of them"},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled, 505, "HTTP/2 is not served"},
		{"HTTP/2 preface with a host", "PRI * HTTP/2.0\r\nHost: a\r\n\r\nSM\r\n\r\n" + smuggled, 505, "HTTP/2 is not served"},
		{"header without end", "GET /v2 HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", headerBytes), 431, "larger than 8192 bytes"},
		{"announced body over the limit", post("Content-Length: 4097\r\n", "{"), 413, "limit of 4096 bytes"},
		{"huge announced body", post("Content-Length: 9223372036854775807\r\n", "{"), 413, "limit of 4096 bytes"},
		{"chunked body over the limit", post("Transfer-Encoding: chunked\r\n", "1001\r\n"+strings.Repeat("x", 0x1001)+"\r\n0\r\n\r\n"), 413, "limit of 4096 bytes"},
		{"body over the limit that is asked about", post("Content-Length: 4097\r\nExpect: 100-continue\r\n", ""), 413, "limit of 4096 bytes"},
		{"binary data in chunks", post(closing+"Transfer-Encoding: chunked\r\n"+headerLength+": 0\r\n", "8\r\n12345678\r\n0\r\n\r\n"), 400, "needs a Content-Length"},
		{"chunks of one byte", post(closing+"Transfer-Encoding: chunked\r\n", chunks+"0\r\n\r\n"), 200, ""},
		{"bad percent encoding", "GET /v2/models/%zz HTTP/1.1\r\nHost: a\r\n" + closing + "\r\n", 404, `unknown model "%zz"`},
		{"absolute path", "GET http://a/v2/models/z HTTP/1.1\r\nHost: a\r\n" + closing + "\r\n", 404, `unknown model "z"`},
	} {
		t.Run(row.situation, func(t *testing.T) {
			t.Parallel()
			c := dial(t, addr)
			if _, err := io.WriteString(c, row.bytes); err != nil {
				t.Fatal(err)
			}
			all := replies(t, c)
			if len(all) != 1 {
				t.Fatalf("%d replies %+v, want 1 and then the connection closed", len(all), all)
			}
			if a := all[0]; a.status != row.status || row.want != "" && !strings.Contains(a.text(), row.want) {
				t.Errorf("reply %d %s, want %d with %q", a.status, a.body, row.status, row.want)
			}
			healthy(t, addr)
		})
	}
}

func TestClientThatIsRefusedWhileItSendsGetsTheReply(t *testing.T) {
	_, addr := start(t, newFake(), Options{MaxBodyBytes: 1 << 20})
	c := dial(t, addr)
	const size = 32 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := fmt.Fprintf(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, make([]byte, size))
		c.(*net.TCPConn).CloseWrite()
		sent <- err
	}()
	if err := <-sent; err != nil {
		t.Errorf("sending: %v", err)
	}
	if all := replies(t, c); len(all) != 1 || all[0].status != 413 {
		t.Errorf("replies %+v, want a 413", all)
	}
}

func TestAnnouncedBodyTakesNoMemoryBeforeItComes(t *testing.T) {
	_, addr := start(t, newFake(), Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const clients = 50
	for range clients {
		c := dial(t, addr)
		fmt.Fprintf(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", 64<<20)
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil { // says 100, so it waits for the body
			t.Fatal(err)
		}
		fmt.Fprint(c, "{")
	}
	healthy(t, addr)
	runtime.ReadMemStats(&after)
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(clients*256<<10); got > most {
		t.Errorf("%d clients that announce 64 MiB took %d bytes, want at most %d", clients, got, most)
	}
}

func TestBodyThatEndsEarlyIsNoRequest(t *testing.T) {
	_, addr := start(t, newFake(), Options{})
	c := dial(t, addr)
	fmt.Fprintf(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(healthyBody)+1, healthyBody)
	c.(*net.TCPConn).CloseWrite()
	if all := replies(t, c); len(all) != 1 || all[0].status != 400 {
		t.Errorf("replies %+v, want a 400", all)
	}
	healthy(t, addr)
}

func TestClientThatLeavesInTheMiddle(t *testing.T) {
	_, addr := start(t, newFake(), Options{})
	c := dial(t, addr)
	io.WriteString(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
	c.Close()
	healthy(t, addr)
}

func TestConnectionsBeyondTheLimitAreRefusedInJSON(t *testing.T) {
	_, addr := start(t, newFake(), Options{MaxConnections: 2})
	first, second := dial(t, addr), dial(t, addr)
	for _, c := range []net.Conn{first, second} { // served, hence counted
		io.WriteString(c, "GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
	}
	all := replies(t, dial(t, addr))
	if len(all) != 1 || all[0].status != 503 || !strings.Contains(all[0].text(), "too many connections") || all[0].header.Get("Retry-After") != "1" {
		t.Errorf("replies %+v, want a 503", all)
	}
	io.WriteString(first, "GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if all := replies(t, first); len(all) != 1 || all[0].status != 200 {
		t.Errorf("replies %+v to a connection that was there before, want a 200", all)
	}
	healthy(t, addr) // there is room again
}

// poor is a listener that runs out of file descriptors now and then.
type poor struct {
	net.Listener
	rich bool
}

func (p *poor) Accept() (net.Conn, error) {
	if p.rich = !p.rich; p.rich {
		return p.Listener.Accept()
	}
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

func TestListenerOutlivesALackOfFileDescriptors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(newFake(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(&poor{Listener: ln}) }()
	healthy(t, ln.Addr().String())
	healthy(t, ln.Addr().String())
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestKeepAliveServesManyRequests(t *testing.T) {
	_, addr := start(t, newFake(), Options{})
	c := dial(t, addr)
	get := "GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
	io.WriteString(c, strings.Repeat(get, 9)+"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if all := replies(t, c); len(all) != 10 {
		t.Errorf("%d replies to 10 requests in one packet", len(all))
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	_, addr := start(t, newFake(), Options{IdleTimeout: 50 * time.Millisecond})
	c := dial(t, addr)
	io.WriteString(c, "GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
	if all := replies(t, c); len(all) != 1 {
		t.Errorf("%d replies, want 1 and then the connection closed", len(all))
	}
}

// serve starts s, which the test shuts down itself.
func serve(t *testing.T, s *Server) (addr string, served chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served = make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	return ln.Addr().String(), served
}

func TestShutdownLetsRequestsUnderWayFinish(t *testing.T) {
	f, gate := gated()
	s, err := New(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, served := serve(t, s)
	silent, idle, busy := dial(t, addr), dial(t, addr), dial(t, addr)
	fmt.Fprint(idle, "GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(busy, "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(healthyBody), healthyBody)
	<-gate // the request is in Predict

	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	if all := replies(t, silent); len(all) != 0 {
		t.Errorf("replies %+v to silence, want the connection closed", all)
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown = %v with a request under way", err)
	default:
	}
	gate <- struct{}{}
	if all := replies(t, busy); len(all) != 1 || string(all[0].body) != healthyReply {
		t.Errorf("replies %+v to the request under way, want %s", all, healthyReply)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("a connection is accepted after the shutdown")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("second Shutdown = %v", err)
	}
}

func TestShutdownDoesNotWaitLongForARequestThatComesInSlowly(t *testing.T) {
	s, addr := start(t, newFake(), Options{ReadTimeout: time.Hour})
	c := dial(t, addr)
	fmt.Fprintf(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	healthy(t, addr) // by now the half of the request is there as well, or comes into a closing server
	s.each(func(cs *conns) { cs.patience = 50 * time.Millisecond })
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	f, gate := gated()
	s, err := New(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, served := serve(t, s)
	c := dial(t, addr)
	fmt.Fprintf(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(healthyBody), healthyBody)
	<-gate
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("Shutdown succeeds with a request that does not end")
	}
	<-gate // Predict has seen the end of its context
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestShutdownClosesTheConnectionOfACallThatDoesNotEnd(t *testing.T) {
	f, gate := newFake(), make(chan struct{})
	f.predict = func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
		gate <- struct{}{}
		<-gate
		return echo(ctx, in)
	}
	s, err := New(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serve(t, s)
	c := dial(t, addr)
	fmt.Fprintf(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(healthyBody), healthyBody)
	<-gate
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("Shutdown succeeds with a request that does not end")
	}
	if all := replies(t, c); len(all) != 0 {
		t.Errorf("replies %+v, want the connection closed", all)
	}
	gate <- struct{}{}
}

func TestServeAfterShutdownReturns(t *testing.T) {
	s, err := New(newFake(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	_, served := serve(t, s)
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestShutdownAnswersWhatWasSentBeforeItWasSeen(t *testing.T) {
	s, err := New(newFake(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serve(t, s)
	fresh, kept := dial(t, addr), dial(t, addr)
	get := "GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
	read := bufio.NewReader(kept)
	io.WriteString(kept, get)
	if _, err := http.ReadResponse(read, nil); err != nil {
		t.Fatal(err)
	}
	s.each(func(cs *conns) {
		cs.farewell = time.Hour
		cs.hurry() // the shutdown has begun
	})
	for name, c := range map[string]net.Conn{"fresh": fresh, "kept": kept} {
		io.WriteString(c, get)
		all := replies(t, c)
		if len(all) != 1 || all[0].status != 200 {
			t.Errorf("replies %+v on the %s connection, want 200 and that it closes", all, name)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

func TestConnectionThatComesDuringAShutdownIsClosed(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(*conns)
		taken bool // it gets its farewell
	}{
		{"when it has begun", (*conns).hurry, true},
		{"when it is over", (*conns).closeAll, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			cs := newConns(ln, 10)
			c.begin(cs)
			accepted := make(chan net.Conn, 1)
			go func() {
				nc, err := cs.Accept()
				if err == nil {
					nc.SetReadDeadline(time.Time{}) // as fasthttp does
					io.Copy(io.Discard, nc)
					nc.Close()
				}
				accepted <- nc
			}()
			if all := replies(t, dial(t, ln.Addr().String())); len(all) != 0 {
				t.Errorf("replies %+v, want the connection closed", all)
			}
			for range 2 {
				if err := cs.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			}
			if nc := <-accepted; (nc != nil) != c.taken {
				t.Errorf("Accept returns %v", nc)
			}
		})
	}
}

// gated returns a catalog whose model says on the channel when a call begins, and then waits
// for a word on it or for the end of the call's context, which it says as well.
func gated() (*fake, chan struct{}) {
	f, gate := newFake(), make(chan struct{})
	f.predict = func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
		gate <- struct{}{}
		select {
		case <-gate:
			return echo(ctx, in)
		case <-ctx.Done():
			gate <- struct{}{}
			return backends.Batch{}, ctx.Err()
		}
	}
	return f, gate
}

// TestCrowdedBodies has more bodies than may be held, plain and compressed, while one that
// takes all the room is under way; afterwards there is room again.
func TestCrowdedBodies(t *testing.T) {
	const limit = 1 << 20
	s, addr := start(t, newFake(), Options{MaxBodyBytes: limit})
	large := strings.Repeat(" ", limit-len(healthyBody)) + healthyBody
	for _, tt := range []struct {
		name   string
		header http.Header
		body   string
		want   int
	}{
		{"small body", nil, healthyBody, 200},
		{"large body", nil, large, 503},
		{"small body that grows", http.Header{"Content-Encoding": {"gzip"}}, string(zip(large)), 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.held.Store(largeBodies * limit)
			got := send(t, "POST", addr, "/v2/models/m/infer", tt.header, []byte(tt.body))
			if got.status != tt.want || tt.want == 503 && got.header.Get("Retry-After") == "" {
				t.Errorf("with other bodies: %d %s, want %d", got.status, got.body, tt.want)
			}
			s.held.Store(0)
			if got := send(t, "POST", addr, "/v2/models/m/infer", tt.header, []byte(tt.body)); got.status != 200 || s.held.Load() != 0 {
				t.Errorf("alone: %d %s with %d bytes held after, want 200 and 0", got.status, got.body, s.held.Load())
			}
		})
	}
}
