// Package docs holds the pages to their word.
package docs

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// block is a fenced block of a page.
type block struct {
	language, argument string // of the opening fence: "console python"
	lines              []string
}

func readBlocks(t *testing.T, page string) []block {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	open := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !open:
			language, argument, _ := strings.Cut(info, " ")
			blocks = append(blocks, block{language: language, argument: argument})
			open = true
		case fence:
			open = false
		case open:
			last := &blocks[len(blocks)-1]
			last.lines = append(last.lines, line)
		}
	}
	return blocks
}

// A block whose fence names a file is that file.
func TestFilesAreShownAsTheyAre(t *testing.T) {
	shown := 0
	for _, b := range readBlocks(t, "plugins.md") {
		if b.language == "console" || b.argument == "" {
			continue
		}
		shown++
		file, err := os.ReadFile("../" + b.argument)
		if err != nil {
			t.Fatal(err)
		}
		if have := strings.Join(b.lines, "\n") + "\n"; have != string(file) {
			t.Errorf("plugins.md does not show %s as it is", b.argument)
		}
	}
	if shown != 2 {
		t.Errorf("%d files are shown, want 2", shown)
	}
}

// step is a command of a page and what the page says that it prints, where … stands for
// anything.
type step struct {
	command string
	want    []string
}

func steps(blocks []block, python bool) []step {
	var all []step
	for _, b := range blocks {
		if b.language != "console" || b.argument == "python" && !python {
			continue
		}
		for _, line := range b.lines {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, step{command: command})
				continue
			}
			last := &all[len(all)-1]
			if more, ok := strings.CutPrefix(line, "> "); ok {
				last.command += "\n" + more
			} else {
				last.want = append(last.want, line)
			}
		}
	}
	return all
}

// pythonKey is set where Python may be used and packages may be installed for it, as
// examples/python-backend/check does.
const pythonKey = "THRUM_TEST_PYTHON"

func TestCommandsDoWhatThePageSays(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the page's commands need %s: %v", tool, err)
		}
	}
	python := os.Getenv(pythonKey) != ""
	if !python {
		t.Logf("without the commands for Python: %s is not set", pythonKey)
	}
	lookAtSources(t)
	all := steps(readBlocks(t, "plugins.md"), python)
	printed := runAll(t, all)
	for i, s := range all {
		if i >= len(printed) {
			t.Fatalf("$ %s\nwas not run", s.command)
		}
		if !matches(s.want, printed[i]) {
			t.Errorf("$ %s\n%s\nwant\n%s", s.command, printed[i], strings.Join(s.want, "\n"))
		}
	}
}

// lookAtSources lets go test know that what the commands do depends on every source, so that it
// never answers from its cache after one has changed.
func lookAtSources(t *testing.T) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			_, err = os.Stat(filepath.Join("..", path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mark parts what the commands print.
const mark = "\x1e"

// runAll runs the commands in one shell at the root of the tree and returns what each printed.
func runAll(t *testing.T, all []step) []string {
	t.Helper()
	var script strings.Builder
	script.WriteString("trap 'kill $(jobs -p) 2>/dev/null; rm -rf \"$TRY\"' EXIT\n")
	for _, s := range all {
		fmt.Fprintf(&script, "%s\nprintf '%s'\n", s.command, mark)
	}
	text := strings.NewReplacer("127.0.0.1:8000", freePort(t), "127.0.0.1:8002", freePort(t)).Replace(script.String())
	shell := exec.Command("bash", "-c", text)
	shell.Dir = ".."
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	shell.Stderr = log
	out, err := shell.Output()
	if text, readErr := os.ReadFile(log.Name()); readErr == nil {
		t.Logf("%v, standard error:\n%s", err, text)
	}
	printed := strings.Split(string(out), mark)
	return printed[:len(printed)-1]
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// matches says whether a text is what is wanted, but for the width of spaces.
func matches(want []string, text string) bool {
	pattern := regexp.QuoteMeta(strings.Join(strings.Fields(strings.Join(want, " ")), " "))
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(strings.Join(strings.Fields(text), " "))
}
