package rest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/backends"
)

func fp32s(values ...float32) (data []byte) {
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func lengthHeader(n int) http.Header { return http.Header{headerLength: {strconv.Itoa(n)}} }

const binaryHead = `{"id":"r1","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}`

func TestBinaryBothWays(t *testing.T) {
	_, addr := start(t, newFake(), Options{})
	data := fp32s(1.5, -2)
	a := send(t, "POST", addr, "/v2/models/m/infer", lengthHeader(len(binaryHead)), append([]byte(binaryHead), data...))
	const head = `{"model_name":"m","model_version":"2","id":"r1","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}`
	if a.status != 200 || string(a.body) != head+string(data) {
		t.Errorf("reply %d %q, want %q", a.status, a.body, head+string(data))
	}
	if got := a.header.Get(headerLength); got != strconv.Itoa(len(head)) || a.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("header %v, want a JSON length of %d", a.header, len(head))
	}
	raw := send(t, "POST", addr, "/v2/models/m/infer", lengthHeader(0), data)
	if raw.status != 200 || !bytes.HasSuffix(raw.body, data) {
		t.Errorf("reply to a raw body %d %q", raw.status, raw.body)
	}
}

func TestRefusedInference(t *testing.T) {
	_, addr := start(t, newFake(), Options{MaxBodyBytes: 4096})
	for _, row := range []struct {
		situation string
		header    http.Header
		body      string
		status    int
		want      string
	}{
		{"empty body", nil, ``, 400, "ends at byte 0"},
		{"malformed JSON", nil, `{"inputs":[}`, 400, "malformed JSON"},
		{"truncated JSON", nil, healthyBody[:40], 400, "was expected"},
		{"wrong datatype", nil, strings.Replace(healthyBody, "FP32", "INT32", 1), 400, "element 0 is 1.5, not an integer"},
		{"wrong shape", nil, strings.Replace(healthyBody, "[1,2]", "[2,1]", 1), 400, "shape [2 1] given"},
		{"negative shape", nil, strings.Replace(healthyBody, "[1,2]", "[-1,2]", 1), 400, "dimension 0 is -1"},
		{"overflowing shape", nil, strings.Replace(healthyBody, "[1,2]", "[9223372036854775807,2]", 1), 400, "overflows"},
		{"wrong element count", nil, strings.Replace(healthyBody, "1.5,-2", "1.5", 1), 400, "1 elements given"},
		{"unknown input", nil, strings.Replace(healthyBody, `"x"`, `"z"`, 1), 400, `unknown input "z"`},
		{"missing input", nil, `{"inputs":[]}`, 400, `input "x" is missing`},
		{"unknown output", nil, strings.Replace(healthyBody, `{"inputs"`, `{"outputs":[{"name":"z"}],"inputs"`, 1), 400, `unknown output "z"`},
		{"NaN", nil, strings.Replace(healthyBody, "1.5", "NaN", 1), 400, "NaN, which JSON does not have"},
		{"float overflow", nil, strings.Replace(healthyBody, "1.5", "1e39", 1), 400, "out of the range of FP32"},
		{"binary size that does not match", lengthHeader(len(binaryHead)), binaryHead + "1234", 400, "binary_data_size is 8, but 4 bytes are left"},
		{"header length beyond the body", lengthHeader(1000), binaryHead, 400, "but the body has"},
		{"header length is negative", lengthHeader(-1), binaryHead, 400, "must be one number"},
		{"header length is no number", http.Header{headerLength: {"x"}}, binaryHead, 400, "must be one number"},
		{"header length is given twice", http.Header{headerLength: {"1", "2"}}, binaryHead, 400, "must be one number"},
		{"header length is huge", http.Header{headerLength: {"99999999999999999999"}}, binaryHead, 400, "must be one number"},
		{"sequence", nil, strings.Replace(healthyBody, `{"inputs"`, `{"parameters":{"sequence_id":7},"inputs"`, 1), 501, "sequences"},
		{"unknown encoding", http.Header{"Content-Encoding": {"br"}}, healthyBody, 415, "use gzip"},
		{"two encodings", http.Header{"Content-Encoding": {"gzip, gzip"}}, healthyBody, 415, "use gzip"},
		{"gzip that is none", http.Header{"Content-Encoding": {"gzip"}}, healthyBody, 400, "cannot be decompressed"},
		{"truncated gzip", http.Header{"Content-Encoding": {"gzip"}}, string(zip(healthyBody)[:20]), 400, "cannot be decompressed"},
		{"gzip bomb", http.Header{"Content-Encoding": {"gzip"}}, string(zip(strings.Repeat(" ", 1<<20))), 413, "decompressed, the body is larger than the limit of 4096"},
		{"body over the limit", nil, strings.Repeat(" ", 4097), 413, "larger than the limit of 4096 bytes"},
	} {
		t.Run(row.situation, func(t *testing.T) {
			a := send(t, "POST", addr, "/v2/models/m/infer", row.header, []byte(row.body))
			if a.status != row.status || !strings.Contains(a.text(), row.want) {
				t.Errorf("reply %d %s, want %d with %q", a.status, a.body, row.status, row.want)
			}
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
			healthy(t, addr)
		})
	}
}

func zip(text string) []byte {
	return compress(text, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
}

func compress(text string, by func(io.Writer) io.WriteCloser) []byte {
	var b bytes.Buffer
	w := by(&b)
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

func TestCompressedBodies(t *testing.T) {
	_, addr := start(t, newFake(), Options{})
	for encoding, body := range map[string][]byte{
		"gzip":     zip(healthyBody),
		"GZIP":     zip(healthyBody),
		"deflate":  compress(healthyBody, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }),
		"identity": []byte(healthyBody),
	} {
		a := send(t, "POST", addr, "/v2/models/m/infer", http.Header{"Content-Encoding": {encoding}}, body)
		if a.status != 200 || string(a.body) != healthyReply {
			t.Errorf("%s: %d %s", encoding, a.status, a.body)
		}
	}
}

func TestEveryErrorHasItsStatus(t *testing.T) {
	for _, row := range []struct {
		err    error
		status int
		text   string
		retry  string
	}{
		{backends.Errorf(backends.ErrInvalid, "a"), 400, "a", ""},
		{backends.Errorf(backends.ErrNotFound, "b"), 404, "b", ""},
		{backends.Errorf(backends.ErrTooLarge, "c"), 413, "c", ""},
		{backends.Errorf(backends.ErrOverloaded, "d"), 429, "d", "1"},
		{backends.WithRetryAfter(backends.Errorf(backends.ErrOverloaded, "e"), 2500*time.Millisecond), 429, "e", "3"},
		{backends.Errorf(backends.ErrCrashed, "killed by signal 11"), 500, "this request ends the instance that computes it: killed by signal 11", ""},
		{backends.Errorf(backends.ErrUnsupported, "f"), 501, "f", ""},
		{backends.Errorf(backends.ErrUnavailable, "g"), 503, "g", "1"},
		{fmt.Errorf("h: %w", context.DeadlineExceeded), 504, "Request timeout expired: h: context deadline exceeded", ""},
		{fmt.Errorf("i: %w", context.Canceled), 499, "i: context canceled", ""},
		{errors.New("secret"), 500, "internal error: the server's log has it under request", ""},
	} {
		t.Run(strconv.Itoa(row.status), func(t *testing.T) {
			f := newFake()
			f.predict = func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
				if len(in.Parameters) == 0 {
					return echo(ctx, in)
				}
				return backends.Batch{}, row.err
			}
			var seen []Observation
			_, addr := start(t, f, Options{Observe: func(o Observation) { seen = append(seen, o) }})
			a := send(t, "POST", addr, "/v2/models/m/infer", nil, []byte(`{"parameters":{"fail":true},`+healthyBody[1:]))
			if a.status != row.status || !strings.HasPrefix(a.text(), row.text) || strings.Contains(a.text(), "secret") {
				t.Errorf("reply %d %q, want %d %q", a.status, a.text(), row.status, row.text)
			}
			if got := a.header.Get("Retry-After"); got != row.retry {
				t.Errorf("Retry-After %q, want %q", got, row.retry)
			}
			healthy(t, addr)
			if len(seen) != 2 || seen[0].Status != row.status || seen[1].Status != 200 {
				t.Errorf("observed %+v, want a %d and a 200", seen, row.status)
			}
		})
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	f := newFake()
	f.predict = func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
		if len(in.Parameters) == 0 {
			return echo(ctx, in)
		}
		panic("boom")
	}
	var seen []Observation
	_, addr := start(t, f, Options{Observe: func(o Observation) { seen = append(seen, o) }})
	a := send(t, "POST", addr, "/v2/models/m/infer", nil, []byte(`{"parameters":{"fail":true},`+healthyBody[1:]))
	if a.status != 500 || !strings.HasPrefix(a.text(), "internal error") {
		t.Errorf("reply %d %s", a.status, a.body)
	}
	healthy(t, addr)
	if len(seen) != 2 || seen[0].Status != 500 {
		t.Errorf("observed %+v, want a 500 and a 200", seen)
	}
}

func TestAnswerThatJSONCannotHold(t *testing.T) {
	f := newFake()
	f.predict = func(context.Context, backends.Batch) (backends.Batch, error) {
		return backends.Batch{Tensors: []backends.Tensor{{Name: "y", Datatype: backends.FP32, Shape: []int64{1, 2}, Data: fp32s(1, float32(math.NaN()))}}}, nil
	}
	_, addr := start(t, f, Options{})
	a := send(t, "POST", addr, "/v2/models/m/infer", nil, []byte(healthyBody))
	if a.status != 400 || !strings.Contains(a.text(), `output "y" holds NaN`) {
		t.Errorf("reply %d %s", a.status, a.body)
	}
	a = send(t, "POST", addr, "/v2/models/m/infer", lengthHeader(len(binaryHead)), append([]byte(binaryHead), fp32s(1, 2)...))
	if a.status != 200 {
		t.Errorf("reply in binary %d %s", a.status, a.body)
	}
}

func TestAnswerWithTooFewOutputsIsAFaultOfOurs(t *testing.T) {
	f := newFake()
	f.predict = func(context.Context, backends.Batch) (backends.Batch, error) { return backends.Batch{}, nil }
	_, addr := start(t, f, Options{})
	if a := send(t, "POST", addr, "/v2/models/m/infer", nil, []byte(healthyBody)); a.status != 500 {
		t.Errorf("reply %d %s, want 500", a.status, a.body)
	}
}

func TestDeadlineIsTheShorterOfModelAndClient(t *testing.T) {
	for _, row := range []struct {
		situation string
		model     time.Duration
		client    string
		want      time.Duration
	}{
		{"model's alone", time.Minute, "", time.Minute},
		{"client's is shorter", time.Minute, `"timeout":30000000`, 30 * time.Second},
		{"client's is longer", time.Minute, `"timeout":90000000`, time.Minute},
		{"client's is zero", time.Minute, `"timeout":0`, time.Minute},
		{"client's alone", 0, `"timeout":30000000`, 30 * time.Second},
		{"none", 0, "", 0},
	} {
		t.Run(row.situation, func(t *testing.T) {
			f := newFake()
			f.deadline = row.model
			var left time.Duration
			f.predict = func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
				if deadline, ok := ctx.Deadline(); ok {
					left = time.Until(deadline)
				}
				return echo(ctx, in)
			}
			_, addr := start(t, f, Options{})
			send(t, "POST", addr, "/v2/models/m/infer", nil, []byte(`{"parameters":{`+row.client+`},`+healthyBody[1:]))
			if left > row.want || left < row.want-10*time.Second {
				t.Errorf("%v left, want about %v", left, row.want)
			}
		})
	}
}

func TestDeadlineThatPasses(t *testing.T) {
	f := newFake()
	f.predict = func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
		if len(in.Outputs) == 0 {
			return echo(ctx, in)
		}
		<-ctx.Done()
		return backends.Batch{}, ctx.Err()
	}
	_, addr := start(t, f, Options{})
	a := send(t, "POST", addr, "/v2/models/m/infer", nil, []byte(`{"parameters":{"timeout":1000},"outputs":[{"name":"y"}],`+healthyBody[1:]))
	if a.status != 504 {
		t.Errorf("reply %d %s, want 504", a.status, a.body)
	}
	healthy(t, addr)
}

func TestCacheControl(t *testing.T) {
	f := newFake()
	var fresh []bool
	f.predict = func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
		fresh = append(fresh, in.NoCache)
		out, err := echo(ctx, in)
		out.Trace.Cache = backends.CacheBypass
		return out, err
	}
	_, addr := start(t, f, Options{})
	for _, value := range []string{"", "max-age=0", "no-cache", "private, No-Store"} {
		a := send(t, "POST", addr, "/v2/models/m/infer", http.Header{"Cache-Control": {value}}, []byte(healthyBody))
		if !strings.Contains(string(a.body), `"parameters":{"cache":"bypass"}`) {
			t.Errorf("reply %s, want the cache's outcome in it", a.body)
		}
	}
	if want := []bool{false, false, true, true}; !slices.Equal(fresh, want) {
		t.Errorf("NoCache = %v, want %v", fresh, want)
	}
}

func TestObservation(t *testing.T) {
	var o Observation
	f := newFake()
	_, addr := start(t, f, Options{Observe: func(seen Observation) { o = seen }})
	healthy(t, addr)
	if o.Parse <= 0 || o.Reply <= 0 || o.Total < o.Parse+o.Reply {
		t.Errorf("durations of %+v, want some in every stage and the total beyond their sum", o)
	}
	o.Parse, o.Reply, o.Total = 0, 0, 0
	want := Observation{Model: "m", Version: "2", Status: 200, Queue: time.Millisecond, Compute: 2 * time.Millisecond,
		Rows: 1, BatchRows: 4, BytesIn: len(healthyBody), BytesOut: len(healthyReply)}
	if o != want {
		t.Errorf("observed %+v, want %+v", o, want)
	}
	send(t, "POST", addr, "/v2/models/unheard-of/infer", nil, nil)
	if o.Model != "" || o.Status != 404 {
		t.Errorf("observed %+v, want no model: names that clients make up are no labels", o)
	}
}

// TestTensorsOutliveTheHandler keeps what Predict got and looks at it after fasthttp has used
// the memory of the request again.
func TestTensorsOutliveTheHandler(t *testing.T) {
	f := newFake()
	var kept []backends.Batch
	f.predict = func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
		kept = append(kept, in)
		return echo(ctx, in)
	}
	_, addr := start(t, f, Options{})
	client := http.Client{} // keeps its connection, so that the server keeps its buffers
	post := func(body string, header http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/v2/models/m/infer", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	post(`{"parameters":{"p":"qqqq"},`+healthyBody[1:], http.Header{})
	post(binaryHead+string(fp32s(1.5, -2)), lengthHeader(len(binaryHead)))
	for range 20 {
		post(strings.Repeat("z", len(binaryHead)+8), http.Header{}) // just as long, so that the buffer will do
	}
	client.CloseIdleConnections()
	for i, batch := range kept {
		if x := batch.Tensors[0]; x.Name != "x" || !bytes.Equal(x.Data, fp32s(1.5, -2)) {
			t.Errorf("call %d now holds %+v", i, batch)
		}
	}
	if got := kept[0].Parameters[0]; got != (backends.Parameter{Name: "p", Value: `"qqqq"`}) {
		t.Errorf("the first call's parameter is now %v", got)
	}
}

func BenchmarkInfer(b *testing.B) {
	f := newFake()
	f.sig = backends.Signature{
		Batched: true,
		Inputs:  []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 784}}},
		Outputs: []backends.TensorSpec{{Name: "y", Datatype: backends.FP32, Shape: []int64{-1, 10}}},
	}
	f.predict = func(context.Context, backends.Batch) (backends.Batch, error) {
		return backends.Batch{Tensors: []backends.Tensor{{Name: "y", Datatype: backends.FP32, Shape: []int64{1, 10}, Data: make([]byte, 40)}}}, nil
	}
	s, err := New(f, Options{})
	if err != nil {
		b.Fatal(err)
	}
	values := make([]float32, 784)
	texts := make([]string, 784)
	for i := range values {
		values[i] = float32(math.Sin(float64(i)))
		texts[i] = strconv.FormatFloat(float64(values[i]), 'g', -1, 32)
	}
	head := `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,784],"parameters":{"binary_data_size":3136}}]}`
	for name, body := range map[string][]byte{
		"json":   []byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,784],"data":[` + strings.Join(texts, ",") + `]}]}`),
		"binary": append([]byte(head), fp32s(values...)...),
	} {
		b.Run(name, func(b *testing.B) {
			var ctx fasthttp.RequestCtx
			ctx.Request.Header.SetMethod("POST")
			ctx.Request.SetRequestURI("/v2/models/m/infer")
			ctx.Request.SetBody(body)
			if name == "binary" {
				ctx.Request.Header.Set(headerLength, strconv.Itoa(len(head)))
			}
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				s.handle(&ctx)
			}
			if ctx.Response.StatusCode() != 200 {
				b.Fatalf("%s", ctx.Response.Body())
			}
		})
	}
}
