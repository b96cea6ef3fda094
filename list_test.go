package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/plugins"
)

// putPlugin writes an external backend of that name, a shell script, and returns its path and
// checksum.
func putPlugin(t *testing.T, dir, name, script string) (path, checksum string) {
	t.Helper()
	path = filepath.Join(dir, "thrum-backend-"+name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	checksum, err := plugins.Checksum(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, checksum
}

// asNull is the script of an external backend that is the null backend.
func asNull() string {
	return fmt.Sprintf("%s=1 exec %s plugin null", beThrum, os.Args[0])
}

func TestPluginListTellsOfEveryBackend(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	path, checksum := putPlugin(t, dir, "fine", asNull())
	putPlugin(t, dir, "cuda", "echo 'no CUDA driver: install one' >&2; exit 1")
	putPlugin(t, dir, "future", "echo '1|7|unix|/nowhere|grpc'; exec sleep 100")
	putPlugin(t, dir, "plain", "unset PLUGIN_CLIENT_CERT; "+asNull())
	putPlugin(t, dir, "cpu", asNull())
	_, pinned := putPlugin(t, dir, "pinned", asNull()+" # another program")
	exposed, _ := putPlugin(t, dir, "exposed", asNull())
	if err := os.Chmod(exposed, 0o757); err != nil {
		t.Fatal(err)
	}
	putPlugin(t, other, "fine", asNull())
	config := filepath.Join(t.TempDir(), "thrum.yaml")
	text := fmt.Sprintf("plugins: {path: [%s, %s], pins: {pinned: %s, fine: %s}}", dir, other, checksum, checksum)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := thrum("plugin", "list", "--config", config, "--json").Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var entries []entry
	if err := json.Unmarshal(out, &entries); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []struct{ name, kind, reason string }{
		{"cpu", "built-in", ""},
		{"null", "built-in", ""},
		{"cpu", "external", "built in: rename"},
		{"cuda", "external", "no CUDA driver: install one"},
		{"exposed", "external", "chmod o-w"},
		{"fine", "external", ""},
		{"future", "external", "Plugin version: 7, Client versions: [1]"},
		{"pinned", "external", pinned},
		{"plain", "external", "no certificate"},
		{"fine", "external", path + " comes first"},
	}
	if len(entries) != len(want) {
		t.Fatalf("%d entries, want %d:\n%s", len(entries), len(want), out)
	}
	for i, e := range entries {
		w := want[i]
		if e.Name != w.name || e.Kind != w.kind || (e.Status == "ok") != (w.reason == "") || !strings.Contains(e.Reason, w.reason) {
			t.Errorf("entry %d = %+v, want %+v", i, e, w)
		}
		if e.Status == "ok" && (e.Version == "" || e.API != plugins.ProtocolVersion || e.Device == "" || e.Transport == "") {
			t.Errorf("entry %d = %+v, want all that a backend says", i, e)
		}
	}
	if e := entries[5]; e.Path != path || e.Checksum != checksum {
		t.Errorf("fine = %+v, want %s with %s", e, path, checksum)
	}
}

func TestPluginListLinesUp(t *testing.T) {
	dir := t.TempDir()
	putPlugin(t, dir, "a-rather-long-name", asNull())
	_, checksum := putPlugin(t, dir, "evil", `printf 'no\033[2Jway\n' >&2; exit 1`)
	out, err := thrum("plugin", "list", "--plugin-path", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines, want a title and 4 backends:\n%s", len(lines), out)
	}
	at := strings.Index(lines[0], "STATUS")
	for i, status := range []string{"STATUS", "ok", "ok", "ok", "unusable"} {
		if len(lines[i]) < at || !strings.HasPrefix(lines[i][at:], status) {
			t.Errorf("line %d has no %q at column %d:\n%s", i, status, at, out)
		}
	}
	if !strings.Contains(lines[4], checksum[:19]) || strings.Contains(string(out), "\x1b") {
		t.Errorf("want the checksum's beginning and no control codes:\n%q", out)
	}
}

func TestWhatAPluginSaysIsPrintable(t *testing.T) {
	if have, want := printable(" a\x1b[2J\tb\n\n"), "a [2J b"; have != want {
		t.Errorf("printable = %q, want %q", have, want)
	}
}

func TestPluginListExplainsWhatItCannotDo(t *testing.T) {
	for situation, c := range map[string]struct{ args, want string }{
		"no such folder": {"--plugin-path /no/such/folder", "plugin path: open /no/such/folder"},
		"no such config": {"--config /no/such/file", "no such file"},
		"a stray word":   {"all", "unknown command"},
	} {
		out, err := thrum(append([]string{"plugin", "list"}, strings.Fields(c.args)...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v\n%s\nwant %q", situation, err, out, c.want)
		}
	}
}

func TestServeExternalBackends(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	_, have := putPlugin(t, one, "fine", asNull())
	putPlugin(t, two, "other", asNull())
	_, other := putPlugin(t, two, "pinned", asNull()+" # another program")
	root := copyModels(t, "digits")
	for model, yaml := range map[string]string{
		"m": "backend: fine\noptions: {inputs: '2', outputs: '1'}", "unpinned": "backend: other",
		"wrong": "backend: pinned", "typo": "backend: fien",
	} {
		if err := os.MkdirAll(filepath.Join(root, model, "1"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, model, "model.yaml"), []byte(yaml), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pin := "sha256:" + strings.Repeat("0", 64)
	config := filepath.Join(t.TempDir(), "thrum.yaml")
	text := fmt.Sprintf("plugins: {path: [/no/such/folder], pins: {fine: %s, pinned: %s}}", have, pin)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, root, "--config", config, "--plugin-path", one, "--plugin-path", two, "--control", "none")
	for model, body := range map[string]string{
		"m":        `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[5,6]}]}`,
		"unpinned": "",
		"digits":   "",
	} {
		if status, text := p.get(p.http + "/v2/models/" + model + "/ready"); status != 200 {
			t.Errorf("%s/ready = %d %s", model, status, text)
		}
		if body == "" {
			continue
		}
		if status, text := p.post("/v2/models/"+model+"/infer", body); status != 200 || !strings.Contains(text, `"data":[5]`) {
			t.Errorf("infer = %d %s, want 5", status, text)
		}
	}
	_, index := p.post("/v2/repository/index", "")
	for _, want := range []string{
		pin, other,
		`unknown backend \"fien\": this server has cpu, null, fine, other, pinned, and no thrum-backend-fien in ` + one + " or " + two,
		"thrum plugin list --plugin-path " + one + " --plugin-path " + two,
	} {
		if !strings.Contains(index, want) {
			t.Errorf("the index does not say %s:\n%s", want, index)
		}
	}
	p.stop()
}
