package oip

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := NewClient(s.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientReadsMetadata(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/v2/models/a%2Fb/versions/3" {
			t.Errorf("path %s", r.URL.EscapedPath())
		}
		fmt.Fprint(w, `{"name":"a/b","versions":["3"],"platform":"onnx","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"y","datatype":"BYTES","shape":[-1]}]}`)
	})
	m, err := c.Model(t.Context(), "a/b", "3")
	if err != nil || fmt.Sprint(m.Inputs, m.Outputs) != "[x FP32[-1 2]] [y BYTES[-1]]" {
		t.Errorf("Model = %v, %v", m, err)
	}
}

func TestClientListsTheModelsThatThereAre(t *testing.T) {
	for _, c := range []struct {
		situation, index string
		want             string
	}{
		{"an index", `[{"name":"digits","version":"1","state":"READY"},{"name":"old","state":"UNAVAILABLE"}]`,
			"refuses model digit: 404 Not Found: no model digit: it has digits version 1, old (unavailable)"},
		{"no index", "", "refuses model digit: 404 Not Found: no model digit"},
		{"an index that is none", "{", "refuses model digit: 404 Not Found: no model digit"},
	} {
		client := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/repository/index" && r.Method == http.MethodPost && c.index != "" {
				fmt.Fprint(w, c.index)
				return
			}
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"no model digit"}`)
		})
		_, err := client.Model(t.Context(), "digit", "")
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: Model = %v, want %q", c.situation, err, c.want)
		}
		if err := client.Ready(t.Context(), "digit", ""); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: Ready = %v, want %q", c.situation, err, c.want)
		}
	}
}

func TestClientSaysThatNobodyIsThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c, err := NewClient(address)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Ready(t.Context(), "m", "")
	for _, want := range []string{"no answer from http://" + address, "connection refused", "curl http://" + address + "/v2/health/ready"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Ready = %v, want %q in it", err, want)
		}
	}
}

func TestClientSaysThatItIsAnotherProtocol(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	if _, err := c.Model(t.Context(), "m", ""); err == nil || !strings.Contains(err.Error(), "does it speak the Open Inference Protocol") {
		t.Errorf("Model = %v", err)
	}
}

func TestNewClientRefusesWhatIsNoAddress(t *testing.T) {
	for _, address := range []string{"", "http://", "ftp://x", "a b"} {
		if c, err := NewClient(address); err == nil {
			t.Errorf("NewClient(%q) = %v", address, c)
		}
	}
}

func TestInferSendsAndReceivesBinaryBodies(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/v2/models/m/infer" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %v", r.URL.Path, r.Header)
		}
		w.Header().Set(HeadHeader, r.Header.Get(HeadHeader))
		w.Write(body)
	})
	body, head, err := c.Infer(t.Context(), ModelPath("m", ""), []byte("{}abc"), 2)
	if err != nil || head != 2 || string(body) != "{}abc" {
		t.Errorf("Infer = %q, %d, %v", body, head, err)
	}
	body, head, err = c.Infer(t.Context(), ModelPath("m", ""), []byte("{}"), 0)
	if err != nil || head != 0 || string(body) != "{}" {
		t.Errorf("Infer = %q, %d, %v", body, head, err)
	}
}

func TestInferReturnsRefusals(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"unknown input"}`)
	})
	if _, _, err := c.Infer(t.Context(), ModelPath("m", ""), nil, 0); err == nil || err.Error() != "400 Bad Request: unknown input" {
		t.Errorf("Infer = %v", err)
	}
	c = serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(HeadHeader, "x") })
	if _, _, err := c.Infer(t.Context(), ModelPath("m", ""), nil, 0); err == nil || !strings.Contains(err.Error(), HeadHeader) {
		t.Errorf("Infer = %v", err)
	}
}
