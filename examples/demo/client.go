package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// client speaks the Open Inference Protocol.
type client struct{ base string }

type tensor struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
	Data     []any   `json:"data"` // numbers stay as they are written: json.Number
}

// goldenSet is a model's inputs with the outputs of a reference runtime.
type goldenSet struct {
	Source    string                     `json:"source"`
	Tolerance struct{ Abs, Rel float64 } `json:"tolerance"`
	Cases     []struct {
		Name            string `json:"name"`
		Inputs, Outputs []tensor
	} `json:"cases"`
}

func readGolden(models, model string) (goldenSet, error) {
	var set goldenSet
	paths, err := filepath.Glob(filepath.Join(models, model, "*", "golden.json"))
	if err != nil || len(paths) == 0 {
		return set, fmt.Errorf("%s has no golden.json (%v)", model, err)
	}
	text, err := os.ReadFile(slices.Max(paths))
	if err != nil {
		return set, err
	}
	return set, decode(text, &set)
}

func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

// answer is a reply to an infer request.
type answer struct {
	Outputs    []tensor          `json:"outputs"`
	Parameters map[string]string `json:"parameters"`
	took       time.Duration
}

// models returns the names of the models that are ready.
func (c *client) models(ctx context.Context) ([]string, error) {
	var index []struct{ Name, Version, State, Reason string }
	text, err := c.do(ctx, http.MethodPost, "/v2/repository/index", nil, false)
	if err != nil {
		return nil, err
	}
	if err := decode(text, &index); err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range index {
		if entry.State != "READY" {
			return nil, fmt.Errorf("model %s version %s is %s: %s", entry.Name, entry.Version, entry.State, entry.Reason)
		}
		names = append(names, entry.Name)
	}
	return slices.Compact(names), nil
}

func (c *client) infer(ctx context.Context, model string, inputs []tensor, fresh bool) (answer, error) {
	var a answer
	body, err := json.Marshal(map[string]any{"inputs": inputs})
	if err != nil {
		return a, err
	}
	begin := time.Now()
	text, err := c.do(ctx, http.MethodPost, "/v2/models/"+model+"/infer", body, fresh)
	a.took = time.Since(begin)
	if err != nil {
		return a, err
	}
	return a, decode(text, &a)
}

// do sends a request; fresh asks that the prediction cache be left out.
func (c *client) do(ctx context.Context, method, path string, body []byte, fresh bool) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if fresh {
		request.Header.Set("Cache-Control", "no-cache")
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err == nil && reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, reply.Status, strings.TrimSpace(string(text)))
	}
	return text, err
}
