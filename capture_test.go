package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/input"
	"github.com/thrumserve/thrum/loadtest/oip"
)

// What a server captures is what it was sent, and another server answers it in the same way.
func TestWhatAServerCapturesCanBeReplayed(t *testing.T) {
	root, captures := copyModels(t, "digits", "tumor"), t.TempDir()
	writeModelFile(t, root, "digits", "cache: {}\ncapture: {rate: 1, path: sampled/digits}\n")
	writeModelFile(t, root, "tumor", "capture: {rate: 1, mask: [features]}\n")
	p := startServer(t, root, "--capture-dir", captures)
	client, err := oip.NewClient(p.http)
	if err != nil {
		t.Fatal(err)
	}
	sent, replies := replay(t, client, "digits", "examples/models/digits", oip.Form{})
	replay(t, client, "digits", "examples/models/digits", oip.Form{BinaryInputs: true}) // some from the cache
	if status, text := p.post("/v2/models/digits/infer", `{"inputs":[]}`); status != 400 {
		t.Errorf("infer without inputs = %d %s", status, text)
	}
	secret, _ := replay(t, client, "tumor", "examples/models/tumor", oip.Form{})
	_, metrics := p.get(p.admin + "/metrics")
	if !strings.Contains(metrics, `thrum_capture_requests_total{model="digits",outcome="skipped",version="1"} 0`) {
		t.Errorf("the metrics do not tell of capture: %s", metrics)
	}
	p.stop()

	set, err := input.Read(filepath.Join(captures, "sampled", "digits"), 0)
	if err != nil || set.Warnings != nil {
		t.Fatalf("Read = %v, %v", err, set.Warnings)
	}
	if got, want := len(set.Cases), 2*len(sent.Cases); got != want {
		t.Fatalf("%d requests were captured, %d were sent", got, want)
	}
	for i, c := range set.Cases {
		if err := (oip.Tolerance{}).Compare(c.Inputs, sent.Cases[i%len(sent.Cases)].Inputs); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if offsets, err := set.Offsets(); err != nil || !slices.IsSorted(offsets) || offsets[len(offsets)-1] <= 0 || offsets[len(offsets)-1] > time.Minute {
		t.Errorf("Offsets = %v, %v", offsets, err)
	}
	checkMasked(t, filepath.Join(captures, "tumor"), secret)

	p = startServer(t, copyModels(t, "digits"))
	if client, err = oip.NewClient(p.http); err != nil {
		t.Fatal(err)
	}
	_, again := replay(t, client, "digits", filepath.Join(captures, "sampled", "digits"), oip.Form{})
	for i, a := range again {
		if err := set.Tolerance.Compare(a, replies[i%len(replies)]); err != nil {
			t.Errorf("answer %d: %v", i, err)
		}
	}
	p.stop()
}

func writeModelFile(t *testing.T, root, model, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, model, "model.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replay sends the requests that path holds and returns them with their answers.
func replay(t *testing.T, client *oip.Client, model, path string, form oip.Form) (*input.Set, [][]oip.Tensor) {
	t.Helper()
	set, err := input.Read(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := client.Model(t.Context(), model, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Check(m); err != nil {
		t.Fatal(err)
	}
	requests, err := set.Encode(m, form)
	if err != nil {
		t.Fatal(err)
	}
	var answers [][]oip.Tensor
	for _, r := range requests {
		body, head, err := client.Infer(t.Context(), oip.ModelPath(model, ""), r.Body, r.Head)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := oip.DecodeResponse(body, head)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer.Outputs)
	}
	return set, answers
}

// checkMasked looks for the data of requests in a folder's files.
func checkMasked(t *testing.T, folder string, sent *input.Set) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("files %v, %v, want one", paths, err)
	}
	data := mustRead(t, paths[0])
	for _, c := range sent.Cases {
		if bytes.Contains(data, c.Inputs[0].Data[:16]) {
			t.Errorf("%s holds what is masked", paths[0])
		}
	}
	set, err := input.Read(folder, 0)
	if err != nil || len(set.Cases) != len(sent.Cases) {
		t.Fatalf("Read = %v, %v, want %d requests", set, err, len(sent.Cases))
	}
	for _, c := range set.Cases {
		if strings.Trim(string(c.Inputs[0].Data), "\x00") != "" {
			t.Errorf("%s: data %x, want zeros", c.Name, c.Inputs[0].Data)
		}
	}
}

func TestCaptureNeedsTheServersLeave(t *testing.T) {
	root := copyModels(t, "digits", "tumor")
	writeModelFile(t, root, "digits", "capture: {rate: 1}\n")
	p := startServer(t, root, "--control", "none")
	if _, index := p.post("/v2/repository/index", ""); !strings.Contains(index, "start it with --capture-dir DIR") {
		t.Errorf("the index does not say what is missing: %s", index)
	}
	p.stop()
}
