package discover

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/plugins"
)

// roleKey makes this test binary a plugin.
const roleKey = "THRUM_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleKey) != "" {
		plugins.Serve(&backendtest.Fake{})
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// put writes a program that would leave a trace if it ran.
func put(t *testing.T, folder, name string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\ntouch \"$0.ran\"\n"), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

func folder(t *testing.T, mode fs.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFind(t *testing.T) {
	one, two, open := folder(t, 0o755), folder(t, 0o755), folder(t, 0o777)
	a := put(t, one, Prefix+"a", 0o755)
	put(t, one, Prefix+"notes", 0o644)
	put(t, one, "backend-other", 0o755)
	put(t, one, Prefix, 0o755)
	put(t, one, Prefix+"a b", 0o755)
	changed := put(t, one, Prefix+"changeable", 0o757)
	hidden := put(t, open, Prefix+"exposed", 0o755)
	put(t, two, Prefix+"a", 0o755)
	b := put(t, two, Prefix+"b", 0o700)
	for link, target := range map[string]string{"away": hidden, "broken": "/no/such/program", "twin": a} {
		if err := os.Symlink(target, filepath.Join(two, Prefix+link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(two, Prefix+"folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	found, err := Find([]string{one, two, open})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct{ name, path, refused string }{
		{"", filepath.Join(one, Prefix), "no name for a backend"},
		{"a", a, ""},
		{"a b", filepath.Join(one, Prefix+"a b"), "no name for a backend"},
		{"changeable", changed, "anybody may write to " + changed + ": chmod o-w"},
		{"a", filepath.Join(two, Prefix+"a"), a + " comes first"},
		{"away", filepath.Join(two, Prefix+"away"), "anybody may write to " + open + ": chmod o-w"},
		{"b", b, ""},
		{"broken", filepath.Join(two, Prefix+"broken"), "no such file"},
		{"twin", filepath.Join(two, Prefix+"twin"), ""},
		{"exposed", hidden, "anybody may write to " + open},
	}
	if len(found) != len(want) {
		t.Fatalf("Find = %+v, want %d", found, len(want))
	}
	for i, c := range found {
		w := want[i]
		if c.Name != w.name || c.Path != w.path || (c.Refused != nil) != (w.refused != "") {
			t.Errorf("Find()[%d] = %+v, want %+v", i, c, w)
		}
		if c.Refused != nil && (!errors.Is(c.Refused, backends.ErrInvalid) || !strings.Contains(c.Refused.Error(), w.refused)) {
			t.Errorf("%s is refused with %q, want an ErrInvalid with %q", c.Path, c.Refused, w.refused)
		}
		if sum, _ := plugins.Checksum(c.Path); c.Checksum != sum {
			t.Errorf("%s has the checksum %s, want %s", c.Path, c.Checksum, sum)
		}
	}
	for _, dir := range []string{one, two, open} {
		if ran, _ := filepath.Glob(filepath.Join(dir, "*.ran")); len(ran) > 0 {
			t.Errorf("Find executed what made %v", ran)
		}
	}
}

func TestFolderThatIsNotThere(t *testing.T) {
	if _, err := Find([]string{"/no/such/folder"}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "plugin path") {
		t.Errorf("Find = %v, want fs.ErrNotExist of the plugin path", err)
	}
	if _, err := Lookup([]string{"/no/such/folder"}, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lookup = %v, want fs.ErrNotExist", err)
	}
}

func TestLookup(t *testing.T) {
	one, two := folder(t, 0o755), folder(t, 0o755)
	path := put(t, one, Prefix+"a", 0o755)
	put(t, two, Prefix+"a", 0o755)
	put(t, two, Prefix+"open", 0o777)
	if c, err := Lookup([]string{one, two}, "a"); err != nil || c.Path != path {
		t.Errorf("Lookup of a = %+v, %v, want the first, %s", c, err, path)
	}
	if _, err := Lookup([]string{one, two}, "open"); !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("Lookup of a refused one = %v, want why", err)
	}
	if _, err := Lookup([]string{one, two}, "b"); !errors.Is(err, backends.ErrNotFound) || !strings.Contains(err.Error(), two) {
		t.Errorf("Lookup of none = %v, want an ErrNotFound that says where it looked", err)
	}
}

func probe(ctx context.Context, t *testing.T, cmd plugins.Command) (Info, error) {
	return Probe(ctx, cmd, plugins.Options{AutoMTLS: true, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

func TestProbe(t *testing.T) {
	self := plugins.Command{Path: os.Args[0], Env: append(os.Environ(), roleKey+"=fake", "GORACE=atexit_sleep_ms=0")}
	info, err := probe(t.Context(), t, self)
	if err != nil || info.Name != "fake" || info.Version != "1" || info.Device != "none" || info.API != plugins.ProtocolVersion || info.Transport == "" {
		t.Errorf("Probe = %+v, %v", info, err)
	}
}

func TestProbeSaysWhyNot(t *testing.T) {
	for situation, test := range map[string]struct{ script, want string }{
		"it declines":       {"echo 'no CUDA driver: install one' >&2; exit 1", "no CUDA driver: install one"},
		"another protocol":  {"echo '1|7|unix|/nowhere|grpc'; exec sleep 100", "Plugin version: 7, Client versions: [1]"},
		"no plugin":         {"echo usage", "usage"},
		"it hangs":          {"exec sleep 100", "did not answer"},
		"no such interpret": {"", "no such file"},
	} {
		t.Run(situation, func(t *testing.T) {
			t.Parallel()
			cmd := plugins.Command{Path: "/bin/sh", Args: []string{"-c", test.script}}
			if test.script == "" {
				cmd.Path = "/no/such/program"
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("it did not answer in time"))
			defer cancel()
			if _, err := probe(ctx, t, cmd); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Probe = %v, want %q", err, test.want)
			}
		})
	}
}
