package main

import (
	"os"
	"path/filepath"
	"strconv"
)

// system is a server to compare.
type system struct {
	name    string
	json    dialect
	binary  *dialect // nil if it takes no binary tensors
	command func(place) ([]string, error)
}

// place is where a server runs and what it serves.
type place struct {
	options
	port  int    // and the few after it
	dir   string // empty, of its own
	model model
}

// dialectOf returns how s takes a body, if it does.
func (s system) dialectOf(body string) (dialect, bool) {
	switch {
	case body == "json":
		return s.json, true
	case s.binary != nil:
		return *s.binary, true
	}
	return dialect{}, false
}

var (
	torchJSON = rows.under("/predictions/%s")
	torchRaw  = raw.under("/predictions/%s")
)

// systems are thrum and its peers.
var systems = []system{
	{"thrum", oipJSON, &oipBinary, thrum},
	{"mlserver", oipJSON, nil, peer("mlserver")},
	{"bentoml", rows, nil, peer("bentoml")},
	{"litserve", rows, nil, peer("litserve")},
	{"triton", oipJSON, &oipBinary, peer("triton")},
	{"torchserve", torchJSON, &torchRaw, peer("torchserve")},
	{"floor", oipJSON, nil, floorCommand},
}

// thrum serves with its defaults: what it needs to know it measures.
func thrum(p place) ([]string, error) {
	folder := filepath.Join(p.dir, "models", p.model.name)
	err := os.MkdirAll(filepath.Join(folder, "1"), 0o755)
	switch {
	case err != nil:
	case p.model.name == "null":
		err = os.WriteFile(filepath.Join(folder, "model.yaml"), []byte("backend: \"null\"\n"), 0o644)
	default:
		err = copyModel(filepath.Join(p.models, p.model.name), folder)
	}
	at := func(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
	return []string{p.thrum, "serve", "--models", filepath.Join(p.dir, "models"), "--control", "none", "--http", at(p.port), "--admin", at(p.port + 1)}, err
}

// copyModel copies what a bundled model needs; its cache stays off.
func copyModel(from, to string) error {
	for _, file := range []string{"1/model.onnx", "1/golden.json"} {
		data, err := os.ReadFile(filepath.Join(from, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, file), data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// peer runs a driver in the Python environment of its name.
func peer(name string) func(place) ([]string, error) {
	return func(p place) ([]string, error) {
		python, err := filepath.Abs(filepath.Join(p.environments, name, "bin", "python"))
		if err == nil {
			_, err = os.Stat(python)
		}
		if err != nil {
			return nil, err
		}
		driver, err := filepath.Abs(filepath.Join(p.drivers, name+"_peer.py"))
		if err != nil {
			return nil, err
		}
		file, err := filepath.Abs(filepath.Join(p.models, p.model.name, "1", "model.onnx"))
		return []string{python, driver, "--port", strconv.Itoa(p.port), "--model", p.model.name, "--file", file, "--dir", p.dir}, err
	}
}
