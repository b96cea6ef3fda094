package plugins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// install writes a program, a script that becomes this test binary, and returns its path.
func install(t *testing.T, dir, script string) string {
	t.Helper()
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func pin(t *testing.T, path string) string {
	t.Helper()
	sum, err := Checksum(path)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestPinnedProgramsRun(t *testing.T) {
	cmd := command("fake")
	for kind, path := range map[string]string{
		"binary": cmd.Path,
		"script": install(t, t.TempDir(), `[ "$0" = `+programPath()+` ] || { echo "it runs as $0" >&2; exit 1; }; exec `+cmd.Path),
	} {
		t.Run(kind, func(t *testing.T) {
			cmd := cmd
			cmd.Path = path
			p := start(t, cmd, Options{Checksum: pin(t, path), AutoMTLS: true})
			if open, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.PID(), programFD)); open != path {
				t.Errorf("the process has %q open, %v, want %s", open, err, path)
			}
			if _, err := load(t, p, 1).Predict(t.Context(), rows(1)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProgramThatIsNotThePinnedOne(t *testing.T) {
	cmd := command("fake")
	ran := filepath.Join(t.TempDir(), "ran")
	cmd.Path = install(t, t.TempDir(), "touch "+ran)
	have, want := pin(t, cmd.Path), pin(t, os.Args[0])
	_, err := Start(t.Context(), cmd, Options{Checksum: want})
	if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), have) || !strings.Contains(err.Error(), want) {
		t.Errorf("Start = %v, want an ErrUnavailable with both checksums", err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("it was executed all the same")
	}
}

// What is executed is what was hashed, however the path is made to name another program in
// between.
func TestPinnedProgramIsNotReplacedUnderTheCheck(t *testing.T) {
	dir := t.TempDir()
	path := install(t, dir, "echo the old one >&2")
	f, err := openPinned(path, pin(t, path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := os.Rename(install(t, t.TempDir(), "echo the new one >&2"), path); err != nil {
		t.Fatal(err)
	}
	if sum := pin(t, fmt.Sprintf("/proc/self/fd/%d", f.Fd())); sum == pin(t, path) {
		t.Error("the open file is the new one")
	}
}

func TestChecksumsThatAreNone(t *testing.T) {
	for _, text := range []string{"sha256:", "sha256:12", "md5:" + strings.Repeat("0", 64), strings.Repeat("0", 64), "sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("x", 64)} {
		if _, err := Start(t.Context(), command("fake"), Options{Checksum: text}); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("Start with checksum %q = %v, want ErrInvalid", text, err)
		}
	}
}

func TestPinOfAProgramThatIsNotThere(t *testing.T) {
	_, err := Start(t.Context(), Command{Path: "/no/such/program"}, Options{Checksum: pin(t, os.Args[0])})
	if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Start = %v, want an ErrUnavailable that says why", err)
	}
}
