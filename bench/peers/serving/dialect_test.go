package main

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/loadtest/attack"
)

func TestDialectsAskForTheSameValues(t *testing.T) {
	m := model{name: "m", input: "x", output: "y", shape: []int{1, 2}}
	row := []float32{1.5, -2}
	for name, c := range map[string]struct {
		dialect dialect
		body    string
		head    int
	}{
		"oip json": {oipJSON, `{"inputs":[{"name":"x","shape":[1,1,2],"datatype":"FP32","data":[1.5,-2]}],"outputs":[{"name":"y"}]}`, 0},
		"oip binary": {oipBinary, `{"inputs":[{"name":"x","shape":[1,1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],` +
			`"outputs":[{"name":"y","parameters":{"binary_data":true}}]}` + "\x00\x00\xc0\x3f\x00\x00\x00\xc0", 154},
		"rows": {rows, `{"x":[[1.5,-2]]}`, 0},
		"raw":  {raw, "\x00\x00\xc0\x3f\x00\x00\x00\xc0", 0},
	} {
		got := c.dialect.encode(m, row)
		if string(got.Body) != c.body || got.Head != c.head || got.Rows != 1 {
			t.Errorf("%s: encode = %q with %d bytes of JSON, want %q with %d", name, got.Body, got.Head, c.body, c.head)
		}
	}
}

func TestDialectsReadAnswers(t *testing.T) {
	for _, c := range []struct {
		name    string
		dialect dialect
		body    string
		head    int
		ok      bool
	}{
		{"oip json", oipJSON, `{"outputs":[{"name":"y","data":[1,2]}]}`, 0, true},
		{"oip json without an output", oipJSON, `{"outputs":[]}`, 0, false},
		{"oip binary", oipBinary, "{}\x00\x00\x80\x3f\x00\x00\x00\x40", 2, true},
		{"oip binary that is JSON", oipBinary, `{"outputs":[{"name":"y","data":[1,2]}]}`, 0, false},
		{"oip binary that is cut", oipBinary, "{}\x00\x00\x80", 2, false},
		{"rows in an array", rows, `[[1,2]]`, 0, true},
		{"rows in an object", rows, `{"y":[[1,2]]}`, 0, true},
		{"two rows", rows, `[[1],[2]]`, 0, false},
		{"an error in JSON", rows, `{"error":"no"}`, 0, false},
		{"raw", raw, "\x00\x00\x80\x3f\x00\x00\x00\x40", 0, true},
	} {
		got, err := c.dialect.decode(attack.Reply{Status: 200, Body: []byte(c.body), Head: c.head})
		if ok := err == nil && slices.Equal(got, []float32{1, 2}); ok != c.ok {
			t.Errorf("%s: decode = %v, %v", c.name, got, err)
		}
	}
}

func TestFloorAnswersAsAsked(t *testing.T) {
	m := nullModel()
	got, err := decodeOIP(attack.Reply{Body: []byte(floorAnswer(m))})
	if err != nil || m.check(0, got) != nil || m.check(1, got) == nil {
		t.Errorf("floorAnswer is %v, %v, want the answer to row 0 alone", got, err)
	}
}

func TestGoldenModels(t *testing.T) {
	m, err := goldenModel("../../../examples/models", "digits", "image", "probabilities", 1, 8, 8)
	if err != nil || len(m.rows) == 0 || len(m.rows[0]) != 64 || len(m.answers[0]) != 10 {
		t.Fatalf("goldenModel = %d rows, %v", len(m.rows), err)
	}
	near := slices.Clone(m.answers[0])
	near[0] += 5e-4
	if err := m.check(0, near); err != nil {
		t.Error(err)
	}
	near[0] += 1e-3
	if m.check(0, near) == nil || m.check(0, near[:9]) == nil {
		t.Error("check lets a wrong answer pass")
	}
	if _, err := goldenModel("../../../examples/models", "digits", "image", "nothing", 64); err == nil {
		t.Error("goldenModel finds an output that is not there")
	}
}

func TestRequestsAreJSONThatOthersRead(t *testing.T) {
	for i, r := range oipJSON.requests(nullModel()) {
		if !json.Valid(r.Body) {
			t.Errorf("request %d is not JSON", i)
		}
	}
}
