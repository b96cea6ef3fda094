//go:build cuda

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/cudatest"
	"github.com/thrumserve/thrum/backends/cuda/kernels/emulated"
)

const selfKey = "THRUM_TEST_CHECK"

func TestMain(m *testing.M) {
	if os.Getenv(selfKey) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func check(t *testing.T, only string, env ...string) (string, int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-pretend", "-only", only, "-folder", folder(t))
	c.Env = append(append(os.Environ(), selfKey+"=1"), env...)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), c.ProcessState.ExitCode()
}

// folder is what the program has beside it.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir+"/models", os.DirFS("../testdata")); err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile("../../cpu/testdata/cases.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/cases.jsonl.gz", cases, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWithoutADevice(t *testing.T) {
	if _, err := os.Stat("/dev/nvidiactl"); err == nil {
		t.Skip("this machine has a driver")
	}
	out, code := check(t, "", "LD_LIBRARY_PATH=")
	if code != noDevice || !strings.Contains(out, "nothing is checked: no NVIDIA driver") {
		t.Errorf("without a device it ends with %d and says %q", code, out)
	}
}

// TestOnAPretendedDevice runs all that the program checks, by the emulated kernels and a library that pretends.
func TestOnAPretendedDevice(t *testing.T) {
	folder := cudatest.Folder(t)
	cudatest.AddProducts(t, folder)
	driver := []string{"LD_LIBRARY_PATH=" + folder, cudatest.KernelsKey + "=" + emulated.Library(t)}
	out, code := check(t, "", append(driver, cudatest.Key+"=version=13000 memory=1073741824")...)
	if code != 0 || !strings.Contains(out, " 0 differ") {
		t.Errorf("it ends with %d:\n%s", code, out)
	}
	for _, products := range []string{"kernels", "cublaslt"} {
		if want := "quantized-signed in int8 by " + products + ", 6 rows "; !strings.Contains(out, want) {
			t.Errorf("it does not check %q:\n%s", want, out)
		}
	}
	t.Log(out[strings.LastIndexByte(strings.TrimSpace(out), '\n')+1:])
}

// TestWhatEndsTheDevice has every process lose the device at some operator, which costs that one alone.
func TestWhatEndsTheDevice(t *testing.T) {
	driver := []string{"LD_LIBRARY_PATH=" + cudatest.Folder(t), cudatest.KernelsKey + "=" + emulated.Library(t)}
	out, code := check(t, "operators", append(driver, cudatest.Key+"=failing=100 memory=1073741824")...)
	lost := strings.Count(out, " ENDS THE PROCESS: the device answers this process no more")
	if code != 1 || lost < 2 || lost > 10 || !strings.Contains(out, fmt.Sprintf(" refused, %d differ", lost)) {
		t.Errorf("it ends with %d, after %d operators that end processes:\n%s", code, lost, out)
	}
}
