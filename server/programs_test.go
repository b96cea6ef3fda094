package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins"
)

func putProgram(t *testing.T, dir, name string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, "thrum-backend-"+name)
	if err := os.WriteFile(path, []byte("#!/bin/false\n"), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

const zeros64 = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

func TestFindProgram(t *testing.T) {
	dir := t.TempDir()
	path := putProgram(t, dir, "mean", 0o755)
	putProgram(t, dir, "cpu", 0o755)
	putProgram(t, dir, "exposed", 0o777)
	p := programs{
		builtin: map[string]plugins.Command{"cpu": {Path: "/thrum"}},
		path:    []string{dir},
		pins:    map[string]string{"mean": zeros64},
	}
	if err := p.check(); err != nil {
		t.Fatal(err)
	}
	if f, err := p.find("cpu"); err != nil || f.command.Path != "/thrum" || f.options.AutoMTLS {
		t.Errorf("find(cpu) = %+v, %v, want the one that is built in, trusted", f, err)
	}
	if f, err := p.find("mean"); err != nil || f.command.Path != path || !f.options.AutoMTLS || f.options.Checksum != zeros64 {
		t.Errorf("find(mean) = %+v, %v, want %s, pinned, with certificates", f, err, path)
	}
	for name, want := range map[string]string{
		"exposed": "chmod o-w",
		"tpu":     `unknown backend "tpu": this server has cpu, mean, and no thrum-backend-tpu in ` + dir,
	} {
		_, err := p.find(name)
		if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "thrum plugin list --plugin-path "+dir) {
			t.Errorf("find(%s) = %v, want an ErrInvalid with %q and the next command", name, err, want)
		}
	}
}

func TestProgramsWithoutAPath(t *testing.T) {
	_, err := programs{builtin: map[string]plugins.Command{"cpu": {}}}.find("tpu")
	if want := `this server has cpu, and no plugin path to look further; see ` + "`thrum plugin list --plugin-path DIR`"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("find = %v, want %q", err, want)
	}
}

func TestProgramsThatCannotBeRight(t *testing.T) {
	builtin := map[string]plugins.Command{"cpu": {}}
	for situation, c := range map[string]struct {
		programs programs
		want     string
	}{
		"a pin that is no checksum":  {programs{builtin, []string{t.TempDir()}, map[string]string{"mean": "sha256:12"}}, "plugins.pins: mean"},
		"a pin of what is built in":  {programs{builtin, []string{t.TempDir()}, map[string]string{"cpu": zeros64}}, "built in"},
		"a folder that is not there": {programs{builtin, []string{"/no/such/folder"}, nil}, "/no/such/folder"},
	} {
		if err := c.programs.check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: check = %v, want %q", situation, err, c.want)
		}
	}
}
