package loadtest

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

const secret = "s3cr3t-t0ken"

func access(t *testing.T, lines ...string) Access {
	t.Helper()
	h, err := ParseHeader(lines)
	if err != nil {
		t.Fatal(err)
	}
	return Access{Header: h}
}

func TestHeaders(t *testing.T) {
	a := access(t, "Authorization: Bearer "+secret, "X-Tenant:a:b", "x-tenant: c")
	if a.Header.Get("Authorization") != "Bearer "+secret || fmt.Sprint(a.Header["X-Tenant"]) != "[a:b c]" {
		t.Errorf("ParseHeader = %v", a.Header)
	}
	if got, want := a.String(), "Authorization: ***, X-Tenant: ***"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got := a.Mask("no token " + secret + ", not 'Bearer " + secret + "', c"); got != "no token ***, not '***', c" {
		t.Errorf("Mask = %q, want no secret in it", got)
	}
	for name, line := range map[string]string{
		"no colon": "Authorization " + secret, "no name": ": " + secret, "a space in the name": "a b: " + secret, "another line": "A: " + secret + "\r\nB: c",
		"no value": "A:", "one that is ours": "cache-control: " + secret, "the length": "Content-Length: " + secret,
	} {
		if h, err := ParseHeader([]string{line}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: ParseHeader = %v, %v, want an error without the value", name, h, err)
		}
	}
}

// guarded is a server that lets nobody in without the secret, and says what it was sent to whom it turns away.
func guarded(s *server) *httptest.Server {
	return httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sent := r.Header.Get("Authorization"); sent != "Bearer "+secret {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"not let in with %s"}`, sent)
			return
		}
		s.Config.Handler.ServeHTTP(w, r)
	}))
}

// Both roads: that of plain HTTP by a thread, that of TLS by goroutines.
func TestAttackWithHeadersAndTLS(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := newServer(t)
		front := guarded(s)
		t.Cleanup(front.Close)
		a := access(t, "Authorization: Bearer "+secret)
		var elsewhere []string // what metrics on another host get to know
		if secure {
			front.StartTLS()
			file := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			if a.TLS, err = TLS(file, false); err != nil {
				t.Fatal(err)
			}
		} else {
			front.Start()
		}
		run := attacked(t, Options{URL: front.URL, Model: "m", Check: 1, Access: a})
		all := run.Total()
		if all.Count(result.OK) != 10 || all.Total() != 10 || run.Server.Checked != 10 {
			t.Errorf("TLS %v: %d of %d OK, causes %v", secure, all.Count(result.OK), all.Total(), run.Causes)
		}
		if run.Generator.Spread != secure {
			t.Errorf("TLS %v: the generator says of its goroutines %v", secure, run.Generator.Spread)
		}
		if _, known := run.Server.HitRatio(); !known {
			t.Errorf("TLS %v: nothing is known of the metrics beside the model, which want the header, too", secure)
		}
		if text, err := json.Marshal(run); err != nil || strings.Contains(string(text), secret) || !strings.Contains(string(text), `"Authorization: ***"`) {
			t.Errorf("TLS %v: the run says %s, %v, want the header without its value", secure, text, err)
		}

		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			elsewhere = append(elsewhere, r.Header.Get("Authorization"))
			fmt.Fprintln(w, "process_open_fds 9")
		}))
		attacked(t, Options{URL: front.URL, Model: "m", Access: a, Metrics: other.URL})
		other.Close()
		if strings.Join(elsewhere, "") != "" || len(elsewhere) == 0 {
			t.Errorf("TLS %v: metrics on another host were asked with %q, want no secret", secure, elsewhere)
		}

		a.Header = access(t, "Authorization: Bearer "+secret+"-of-old").Header
		if _, err := Open(t.Context(), Options{URL: front.URL, Model: "m", Access: a}); err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "not let in with ***") {
			t.Errorf("TLS %v: with another token Open = %v, want what the server says, masked", secure, err)
		}
	}
}

// A secret that the server repeats when it has already let in.
func TestCausesAreMasked(t *testing.T) {
	s := newServer(t)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, "%s may not", r.Header.Get("Authorization"))
			return
		}
		s.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	run := attacked(t, Options{URL: front.URL, Model: "m", Access: access(t, "Authorization: "+secret)})
	if got := run.Causes[result.Failed]; got != "status 500: *** may not" {
		t.Errorf("cause %q, want it masked", got)
	}
}

func TestTLSIsNotBelievedBlindly(t *testing.T) {
	s := newServer(t)
	front := httptest.NewTLSServer(s.Config.Handler)
	t.Cleanup(front.Close)
	o := Options{URL: front.URL, Model: "m", Timeout: 5 * time.Second}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Open of a server that nobody vouches for = %v, want an error about its certificate", err)
	}
	var err error
	if o.TLS, err = TLS("", true); err != nil {
		t.Fatal(err)
	}
	if all := attacked(t, o).Total(); all.Count(result.OK) != 10 {
		t.Errorf("insecurely: %d of %d OK", all.Count(result.OK), all.Total())
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file     string
		insecure bool
		want     string
	}{"both": {empty, true, "--ca and --insecure"}, "no file": {"/no/such.pem", false, "/no/such.pem"}, "no certificate": {empty, false, "PEM"}} {
		if _, err := TLS(c.file, c.insecure); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: TLS = %v, want %q in it", name, err, c.want)
		}
	}
}
