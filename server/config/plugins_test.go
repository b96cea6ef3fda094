package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFoldersOfAFlagAddUp(t *testing.T) {
	var f Folders
	for _, text := range []string{"/a", "/b:/c d"} {
		if err := f.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(f, []string{"/a", "/b", "/c d"}) || f.String() != "/a:/b:/c d" {
		t.Errorf("Folders = %q, %s", f, &f)
	}
	if err := f.Set(""); err == nil {
		t.Error("no folder is taken for one")
	}
}

func TestPluginsInTheFile(t *testing.T) {
	for _, c := range []struct{ situation, text, want string }{
		{"a path", "plugins: {path: [/a, /b]}", ""},
		{"a pin", "plugins: {path: [/a], pins: {mean: sha256:12}}", ""},
		{"a misspelt key", "plugins: {paths: [/a]}", `did you mean "path"?`},
		{"a pin without a path", "plugins: {pins: {mean: sha256:12}}", "pins does nothing without plugins.path"},
		{"a folder without a name", "plugins: {path: [/a, '']}", "a folder without a name"},
		{"one folder alone", "plugins: {path: /a}", "cannot unmarshal"},
	} {
		file := filepath.Join(t.TempDir(), "thrum.yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		s := Default()
		s.Models = "models"
		err := ReadServer(file, &s)
		if err == nil {
			err = s.Validate()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q gives %v, want %q", c.situation, c.text, err, c.want)
		}
	}
}
