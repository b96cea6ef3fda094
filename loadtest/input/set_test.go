package input

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/oip"
)

// sized returns a set of requests of so many bytes.
func sized(sizes ...int) *Set {
	s := &Set{Source: "test"}
	for _, n := range sizes {
		x := oip.Tensor{Name: "x", Datatype: oip.Uint8, Shape: []int64{1, int64(n)}, Data: make([]byte, n)}
		s.Cases = append(s.Cases, Case{Request: oip.Request{Inputs: []oip.Tensor{x}}})
	}
	s, err := s.finish()
	if err != nil {
		panic(err)
	}
	return s
}

func sizes(s *Set) []int {
	var all []int
	for _, c := range s.Cases {
		all = append(all, c.Bytes())
	}
	return all
}

func TestSelect(t *testing.T) {
	for _, c := range []struct {
		expression string
		want       []int
		err        string
	}{
		{"bytes >= 20 && rows == 1", []int{20, 20, 40}, ""},
		{`dim("x", 1) < 15`, []int{10}, ""},
		{`dim("y", 1) == 0 && dim("x", 9) == 0 && dim("x", -1) == 0`, []int{10, 20, 20, 40}, ""},
		{"quantile > 0.5", []int{40}, ""},
		{"quantile < 0.5", []int{10}, ""},
		{"index in 1..2", []int{20, 20}, ""},
		{`name == "request 4" and seconds == 0`, []int{40}, ""},
		{"bytes > 40", nil, `keeps none of test: 4 requests of 10 to 40 bytes`},
		{"byte > 40", nil, "unknown name byte"},
		{"bytes", nil, "expected bool, but got int"},
		{"bytes >", nil, "selection"},
		{"1 % (index - index) == 0", nil, "selection"},
	} {
		s := sized(10, 20, 20, 40)
		err := s.Select(c.expression)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Select(%s) = %v, want %q", c.expression, err, c.err)
		}
		if err == nil && !slices.Equal(sizes(s), c.want) {
			t.Errorf("Select(%s) keeps %v, want %v", c.expression, sizes(s), c.want)
		}
	}
}

func TestWeigh(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		expression string
		want       []float64 // shares
	}{
		{"bytes", []float64{1.0 / 11, 2.0 / 11, 8.0 / 11}},
		{"bytes ** 2", []float64{1.0 / 69, 4.0 / 69, 64.0 / 69}},
		{"quantile >= 0.8 ? 2 : 1", []float64{0.25, 0.25, 0.5}},
		{"bytes > 10 ? 1 : 0", []float64{0, 0.5, 0.5}},
		{"index == 0 ? 0.5 : 0", []float64{1, 0, 0}},
	} {
		pick, err := sized(10, 20, 80).Weigh(c.expression, 7)
		if err != nil {
			t.Errorf("Weigh(%s) = %v", c.expression, err)
			continue
		}
		counts := make([]float64, 3)
		for i := range uint64(n) {
			counts[pick(i)]++
		}
		for i, want := range c.want {
			if sd := math.Sqrt(want * (1 - want) / n); math.Abs(counts[i]/n-want) > 5*sd {
				t.Errorf("Weigh(%s): request %d has %v of all, want %v", c.expression, i, counts[i]/n, want)
			}
		}
	}
}

func TestWeighIsTheSameForTheSameSeed(t *testing.T) {
	order := func(seed uint64) []int {
		pick, err := sized(10, 20, 80).Weigh("bytes", seed)
		if err != nil {
			t.Fatal(err)
		}
		var all []int
		for n := range uint64(100) {
			all = append(all, pick(n))
		}
		return all
	}
	if !slices.Equal(order(1), order(1)) || slices.Equal(order(1), order(2)) {
		t.Error("want one order for each seed")
	}
}

func TestWeighRefuses(t *testing.T) {
	for expression, want := range map[string]string{
		"0": "at least one must be above 0", "-1": "0 or more", "0.0 / 0": "0 or more", "name": "float64", "size": "unknown name size", "1e308": "sum to +Inf",
	} {
		if _, err := sized(10, 20).Weigh(expression, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Weigh(%s) = %v, want %q", expression, err, want)
		}
	}
}

func TestSetCheckNamesTheRequest(t *testing.T) {
	m := oip.Model{Name: "m", Inputs: []oip.Spec{{Name: "x", Datatype: oip.Uint8, Shape: []int64{-1, 10}}}}
	err := sized(10, 20).Check(m)
	if err == nil || err.Error() != `test: request 2: input "x" has shape [1 20], model m expects x UINT8[-1 10] (-1 is any size)` {
		t.Errorf("Check = %v", err)
	}
}

func TestEncode(t *testing.T) {
	m := oip.Model{Inputs: []oip.Spec{{Name: "x", Datatype: oip.Uint8, Shape: []int64{-1, -1}}}}
	all, err := sized(2).Encode(m, oip.Form{BinaryInputs: true, BinaryOutputs: true})
	want := `{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","datatype":"UINT8","shape":[1,2],"parameters":{"binary_data_size":2}}]}`
	if err != nil || len(all) != 1 || string(all[0].Body) != want+"\x00\x00" || all[0].Head != len(want) || all[0].Rows != 1 {
		t.Errorf("Encode = %+v, %v", all, err)
	}
	s := &Set{Source: "test", Cases: []Case{{Name: "c", Request: oip.Request{Inputs: []oip.Tensor{{Name: "h", Datatype: oip.FP16, Shape: []int64{1}, Data: []byte{0, 0}}}}}}}
	if _, err := s.Encode(m, oip.Form{}); err == nil || !strings.Contains(err.Error(), `test: c: tensor "h" is FP16`) {
		t.Errorf("Encode of halves as JSON = %v", err)
	}
}

var everything = func() oip.Model {
	m := oip.Model{Name: "m"}
	for _, d := range oip.Datatypes {
		m.Inputs = append(m.Inputs, oip.Spec{Name: strings.ToLower(string(d)), Datatype: d, Shape: []int64{-1, 3}})
	}
	return m
}()

func TestGenerateFitsTheSignature(t *testing.T) {
	g := Generated{Requests: 20, Rows: 2, Seed: 3, Values: map[string]Range{"INT32": {-5, 5}, "int16": {100, 100}, "INT16": {0, 1}, "FP64": {-1, 1}, "BYTES": {2, 2}}}
	s, err := Generate(everything, g)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(everything); err != nil {
		t.Error(err)
	}
	if _, err := s.Encode(everything, oip.Form{BinaryInputs: true}); err != nil {
		t.Error(err)
	}
	again, err := Generate(everything, g)
	if err != nil {
		t.Fatal(err)
	}
	g.Seed = 4
	other, err := Generate(everything, g)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(s.Cases); text != fmt.Sprint(again.Cases) || text == fmt.Sprint(other.Cases) {
		t.Error("want the same requests for the same seed, and others for another")
	}
	seen := map[int32]bool{}
	for _, c := range s.Cases {
		for _, in := range c.Inputs {
			switch in.Name {
			case "int32":
				for i := 0; i < len(in.Data); i += 4 {
					seen[int32(uint32(in.Data[i])|uint32(in.Data[i+1])<<8|uint32(in.Data[i+2])<<16|uint32(in.Data[i+3])<<24)] = true
				}
			case "int16":
				if in.Data[0] != 100 {
					t.Errorf("int16 holds %d, want 100", in.Data[0])
				}
			case "bytes":
				if len(in.Data) != 6*(4+2) {
					t.Errorf("bytes holds %q, want texts of two letters", in.Data)
				}
			}
		}
	}
	for v := int32(-5); v <= 5; v++ {
		if !seen[v] {
			t.Errorf("no int32 is %d", v)
		}
		delete(seen, v)
	}
	if len(seen) > 0 {
		t.Errorf("int32 outside of their range: %v", seen)
	}
}

func TestGenerateSharesSizesAmongInputs(t *testing.T) {
	m := oip.Model{Name: "m", Inputs: []oip.Spec{{Name: "ids", Datatype: oip.Int64, Shape: []int64{-1, -1}}, {Name: "mask", Datatype: oip.Int64, Shape: []int64{-1, -1}}}}
	lengths := []Range{{1, 1}, {1, 50}}
	s, err := Generate(m, Generated{Shapes: map[string][]Range{"ids": lengths, "mask": lengths}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	for _, c := range s.Cases {
		if !slices.Equal(c.Inputs[0].Shape, c.Inputs[1].Shape) {
			t.Fatalf("shapes %v and %v in one request", c.Inputs[0].Shape, c.Inputs[1].Shape)
		}
		seen[c.Inputs[0].Shape[1]] = true
	}
	if len(seen) < 20 {
		t.Errorf("%d lengths in 100 requests of 1 to 50", len(seen))
	}
}

func TestGenerateRefuses(t *testing.T) {
	open := oip.Model{Name: "m", Inputs: []oip.Spec{{Name: "x", Datatype: oip.Int8, Shape: []int64{-1, 3, -1}}}}
	shape := func(dims ...Range) map[string][]Range { return map[string][]Range{"x": dims} }
	one := Range{1, 1}
	for _, c := range []struct {
		situation string
		m         oip.Model
		g         Generated
		want      string
	}{
		{"no signature", oip.Model{Name: "m"}, Generated{}, "does not say what model m takes"},
		{"dimensions that vary", open, Generated{}, "such as x=1,3,128"},
		{"too few dimensions", open, Generated{Shapes: shape(one)}, "has 3 dimensions, 1 are given"},
		{"another fixed dimension", open, Generated{Shapes: shape(one, one, one)}, "dimension 1 is 3"},
		{"a shape of no input", open, Generated{Shapes: map[string][]Range{"y": nil}}, `no input "y" to give a shape: it takes [x INT8[-1 3 -1]]`},
		{"values of no input", open, Generated{Values: map[string]Range{"FP32": {}}}, `"FP32" to give values`},
		{"values beyond the datatype", open, Generated{Shapes: shape(one, Range{3, 3}, one), Values: map[string]Range{"x": {0, 128}}}, "it holds those from -128 to 127"},
		{"too much", open, Generated{Shapes: shape(one, Range{3, 3}, Range{1e9, 1e9})}, "more than 1073741824 bytes"},
		{"an unknown datatype", oip.Model{Inputs: []oip.Spec{{Name: "x", Datatype: "INT4"}}}, Generated{}, "unknown datatype"},
		{"less than nothing", open, Generated{Rows: -1}, "must be above 0"},
	} {
		if s, err := Generate(c.m, c.g); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Generate = %v, %v, want %q", c.situation, s, err, c.want)
		}
	}
}

func TestParseShape(t *testing.T) {
	name, dims, err := ParseShape("tokens=1, 16..512")
	if err != nil || name != "tokens" || !slices.Equal(dims, []Range{{1, 1}, {16, 512}}) {
		t.Errorf("ParseShape = %q, %v, %v", name, dims, err)
	}
	for _, text := range []string{"", "tokens", "=1", "x=", "x=a", "x=5..4", "x=1.5", "x=-1", "x=1..1e99"} {
		if _, _, err := ParseShape(text); err == nil || !strings.Contains(err.Error(), "tokens=1,16..512") {
			t.Errorf("ParseShape(%q) = %v", text, err)
		}
	}
	if r, err := ParseRange("-1.5..2"); err != nil || r != (Range{-1.5, 2}) {
		t.Errorf("ParseRange = %v, %v", r, err)
	}
	for _, text := range []string{"", "..", "a", "NaN", "2..1", "0..Inf"} {
		if _, err := ParseRange(text); err == nil {
			t.Errorf("ParseRange(%q) = nil", text)
		}
	}
}

// fakeConn answers with what is next.
type fakeConn struct {
	replies []attack.Reply
	sent    []*attack.Request
}

func (c *fakeConn) Do(r *attack.Request, _ time.Time) (attack.Reply, error) {
	c.sent = append(c.sent, r)
	if len(c.replies) == 0 {
		return attack.Reply{}, errors.New("connection reset")
	}
	reply := c.replies[0]
	c.replies = c.replies[1:]
	return reply, nil
}

func (c *fakeConn) Close() error { return nil }

func reply(value string) attack.Reply {
	return attack.Reply{Status: 200, Body: []byte(`{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[` + value + `]}]}`)}
}

func TestAnswers(t *testing.T) {
	s := read(t, write(t, "golden.json", twoCases, request("67"), request("68")))
	requests, err := s.Encode(oip.Model{}, oip.Form{})
	if err != nil {
		t.Fatal(err)
	}
	head := `{"outputs":[{"name":"y","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}}]}`
	binary := func(data string) attack.Reply {
		return attack.Reply{Status: 200, Body: []byte(head + data), Head: len(head)}
	}
	first := binary("ab")
	conn := &fakeConn{replies: []attack.Reply{reply("10"), first}}
	a, err := s.Ask(t.Context(), conn, requests, time.Second)
	if err != nil || len(conn.sent) != 2 || conn.sent[0] != &requests[2] {
		t.Fatalf("Ask = %v, sent %d, want those without an answer", err, len(conn.sent))
	}
	clear(first.Body) // it was the connection's
	failed := reply("10")
	failed.Status = 500
	for _, c := range []struct {
		i    int
		r    attack.Reply
		want string
	}{
		{0, reply("3.4"), ""},
		{0, reply("3.6"), `output "y" element 0 is 3.6, want 3 (tolerance 0.5`},
		{1, reply("4"), ""},
		{2, reply("10"), ""},
		{2, reply("10.25"), ""},
		{2, reply("11"), "is 11, want 10"},
		{2, failed, "the answer is 500"},
		{3, binary("ab"), ""},
		{3, binary("ac"), "element 1 is 99, want 98"},
		{2, attack.Reply{Status: 500, Body: []byte("oops")}, "the answer is 500 Internal Server Error: oops"},
		{2, attack.Reply{Status: 200, Body: []byte("{")}, "cannot be read"},
	} {
		err := a.Equal(c.i, c.r)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("Equal(%d, %s) = %v, want %q", c.i, c.r.Body, err, c.want)
		}
	}
}

func TestAskRefuses(t *testing.T) {
	s := read(t, write(t, "a.json", request("1")))
	requests, err := s.Encode(oip.Model{}, oip.Form{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		replies []attack.Reply
		want    string
	}{
		{nil, "connection reset"},
		{[]attack.Reply{{Status: 400, Body: []byte("no such input")}}, "the answer is 400 Bad Request: no such input"},
		{[]attack.Reply{{Status: 200}}, "cannot be read"},
	} {
		_, err := s.Ask(t.Context(), &fakeConn{replies: c.replies}, requests, time.Second)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "request 1") {
			t.Errorf("Ask = %v, want %q", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Ask(ctx, &fakeConn{}, requests, time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("Ask after the end = %v", err)
	}
}
