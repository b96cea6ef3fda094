// Package python holds a backend in Python to the same suite as every other.
package python

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/plugins"
)

// pythonKey names the interpreter to use; python3 if unset. The check script sets it to one that
// has what is needed.
const pythonKey = "THRUM_TEST_PYTHON"

// interpreter returns a Python that has what the backend needs, or skips the test.
func interpreter(t *testing.T) string {
	t.Helper()
	chosen := os.Getenv(pythonKey)
	path, err := exec.LookPath(cmp.Or(chosen, "python3"))
	if err == nil {
		var out []byte
		out, err = exec.Command(path, "-c", "import cryptography, grpc, grpc_tools, numpy").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", path, err, out)
		}
	}
	switch {
	case err != nil && chosen != "":
		t.Fatal(err)
	case err != nil:
		t.Skipf("no Python with what requirements.txt names, which examples/python-backend/check installs: %v", err)
	}
	return path
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// writeModel makes a model of 5 inputs and 3 outputs.
func writeModel(t *testing.T, python string) string {
	t.Helper()
	dir := t.TempDir()
	const script = "import numpy, sys; numpy.savez(sys.argv[1], weights=numpy.arange(15).reshape(5, 3) / 8, bias=[1, 2, 3])"
	run(t, python, "-c", script, filepath.Join(dir, "linear.npz"))
	return dir
}

func TestConformance(t *testing.T) {
	python, dir := interpreter(t), t.TempDir()
	run(t, "./install", dir, python)
	path := filepath.Join(dir, "thrum-backend-linear")
	checksum, err := plugins.Checksum(path)
	if err != nil {
		t.Fatal(err)
	}
	fixture := backendtest.Fixture{Spec: backends.Spec{Model: "linear", Version: "1", Dir: writeModel(t, python)}, Tolerance: 1e-5}
	for name, o := range map[string]plugins.Options{
		"as the server starts it": {AutoMTLS: true, Checksum: checksum},
		"without certificates":    {},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backends.Backend {
				o := o
				o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
				p, err := plugins.Start(t.Context(), plugins.Command{Path: path}, o)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}, fixture)
		})
	}
}
