//go:build cuda

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/cudatest"
	"github.com/thrumserve/thrum/backends/cuda/kernels/emulated"
	"github.com/thrumserve/thrum/bench/turns"
)

const selfKey = "THRUM_TEST_BENCH"

func TestMain(m *testing.M) {
	if os.Getenv(selfKey) != "" || os.Getenv(pluginKey) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bench runs the program and returns what it prints, what it ends with, and its figures.
func bench(t *testing.T, env []string, args ...string) (string, int, report) {
	t.Helper()
	figures := filepath.Join(t.TempDir(), "figures.json")
	c := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-pretend", "-small", "-time", "20ms", "-python", "", "-json", figures}, args...)...)
	c.Env = append(append(os.Environ(), selfKey+"=1"), env...)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	var r report
	if text, err := os.ReadFile(figures); err == nil {
		if err := json.Unmarshal(text, &r); err != nil {
			t.Errorf("the figures are no JSON: %v\n%s", err, text)
		}
	}
	return string(out), c.ProcessState.ExitCode(), r
}

// pretended is the environment of a device that pretends, with a library of products and some settings.
func pretended(t *testing.T, settings string) []string {
	t.Helper()
	folder := cudatest.Folder(t)
	cudatest.AddProducts(t, folder)
	return []string{"LD_LIBRARY_PATH=" + folder, cudatest.KernelsKey + "=" + emulated.Library(t), cudatest.Key + "=memory=1073741824 version=13000 " + settings}
}

func TestWithoutADevice(t *testing.T) {
	if _, err := os.Stat("/dev/nvidiactl"); err == nil {
		t.Skip("this machine has a driver")
	}
	out, code, _ := bench(t, []string{"LD_LIBRARY_PATH="})
	if code != noDevice || !strings.Contains(out, "nothing is measured: no NVIDIA driver") {
		t.Errorf("without a device it ends with %d and says %q", code, out)
	}
}

// TestOnAPretendedDevice measures all rows with small models, through a server, too.
func TestOnAPretendedDevice(t *testing.T) {
	folder := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(folder, "thrum"), "../../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, code, r := bench(t, pretended(t, ""), "-folder", folder)
	if code != 0 || !strings.Contains(r.Machine.Device, "Fake GPU 0") {
		t.Errorf("it ends with %d, of %q:\n%s", code, r.Machine.Device, out)
	}
	of := map[string]int{}
	for _, l := range r.Lines {
		of[l.Row]++
		if l.Verdict == turns.NotMeasured && !strings.Contains(l.Measured, "no interpreter is given") {
			t.Errorf("%s: %q: %s", l.Row, l.What, l.Measured)
		}
		if l.Verdict != turns.NotMeasured && len(l.Figures) == 0 {
			t.Errorf("%s: %q has no figures", l.Row, l.What)
		}
	}
	for _, row := range rows {
		if of[row.name] == 0 {
			t.Errorf("row %s has no line", row.name)
		}
	}
	t.Log(out)
}

// TestARowThatFailsCostsNoOther has the device fail while models are measured, and not before.
func TestARowThatFailsCostsNoOther(t *testing.T) {
	out, code, r := bench(t, pretended(t, "failing=40"), "-only", "encoder|overlap")
	if code != 1 || len(r.Errors) != 2 {
		t.Errorf("it ends with %d, errors %q, want 1 and an error of each row:\n%s", code, r.Errors, out)
	}
	for _, row := range []string{"encoder", "overlap"} {
		if !strings.Contains(out, row+": ") || !strings.Contains(out, "CUDA_ERROR_ILLEGAL_ADDRESS") {
			t.Errorf("nothing is said of %s:\n%s", row, out)
		}
	}
}

// TestAPeerThatHangsCostsNothingElse has an interpreter that never answers.
func TestAPeerThatHangsCostsNothingElse(t *testing.T) {
	python := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(python, []byte("#!/bin/sh\ncase $1 in -c) exit;; esac\nsleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, code, r := bench(t, pretended(t, ""), "-only", "network", "-within", "3s", "-python", python)
	if code != 0 || len(r.Lines) != 1 || !strings.Contains(r.Lines[0].Measured, "PyTorch took more than") || r.Lines[0].Figures["own_us"] <= 0 {
		t.Errorf("it ends with %d, lines %+v:\n%s", code, r.Lines, out)
	}
}

// TestDecodeKeepsWhatIsWhole has a process end in the middle of a line.
func TestDecodeKeepsWhatIsWhole(t *testing.T) {
	lines, err := decode([]byte("{\"What\":\"a\",\"Figures\":{\"x\":1}}\n{\"What\":\"b"))
	if err == nil || len(lines) != 1 || lines[0].What != "a" || lines[0].Figures["x"] != 1 {
		t.Errorf("decode = %+v, %v, want one line and an error", lines, err)
	}
}
