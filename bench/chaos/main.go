// Command chaos shows that thrum keeps its promises while its parts fail: it starts real servers
// with a backend that fails on command, sends them load over HTTP, kills, stops and spoils what
// answers, and checks every single reply. It prints a table and fails on a target that is missed.
//
// The backend is ./fault, which is built into the plugin path of the servers. Good requests ask
// with a number that nobody else asks with, and have to get its own answer back. "70 % load" is
// seven tenths of what clients that wait for each answer got out of the same server just before;
// it comes at fixed times, whether answers do or not, and what was late counts from when it was
// due.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"text/tabwriter"
	"time"
)

// settings say how much to do.
type settings struct {
	thrum      string
	only       *regexp.Regexp
	kills      int           // of an instance of two
	lonelyKill int           // of the only instance
	cycles     int           // of load and unload
	asks       int           // of a plugin that leaks
	goal       time.Duration // for the p99 of good requests
	log        bool          // print the servers' logs
}

func main() {
	s := settings{kills: 200, lonelyKill: 30, cycles: 500, asks: 100}
	flag.StringVar(&s.thrum, "thrum", "./thrum", "the server's binary")
	flag.DurationVar(&s.goal, "goal", 100*time.Millisecond, "the p99 that counts as recovered")
	flag.BoolVar(&s.log, "log", false, "print the servers' logs")
	short := flag.Bool("short", false, "do less of everything, in about a minute")
	only := flag.String("only", "", "run only what matches this regular expression")
	leaky := flag.String("be-leaky-server", "", "internal: be the leaking server of this model repository")
	flag.Parse()
	if *short {
		s.kills, s.lonelyKill, s.cycles = 8, 2, 60
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *leaky != "" {
		exitOn(beLeaking(ctx, *leaky, flag.Arg(0)))
		return
	}
	var err error
	s.only, err = regexp.Compile(*only)
	exitOn(err)
	exitOn(run(ctx, s))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// scenario is one way to fail and what to find out about it.
type scenario struct {
	name string
	run  func(ctx context.Context, l *lab) ([]finding, error)
}

// finding is a line of the table.
type finding struct {
	what, measured, target string
	held                   bool
}

var scenarios = []scenario{
	{"kill two", killOneOfTwo},
	{"kill one", killTheOnlyOne},
	{"kill tight", killWithoutTime},
	{"stop", stopOne},
	{"hang", hangByRequest},
	{"spoil", spoilReplies},
	{"slow", slowByTen},
	{"poison", poisonOne},
	{"host", killTheHost},
	{"cycles", loadAndUnload},
	{"leak", leakOnPurpose},
}

func run(ctx context.Context, s settings) error {
	l, err := newLab(ctx, s)
	if err != nil {
		return err
	}
	defer l.close()
	fmt.Printf("%d cores shared by servers, plugins and clients\n\n", runtime.NumCPU())
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tmeasured\ttarget\t")
	missed := 0
	for _, sc := range scenarios {
		if !s.only.MatchString(sc.name) {
			continue
		}
		begin := time.Now()
		findings, err := sc.run(ctx, l)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", sc.name, err), table.Flush())
		}
		fmt.Fprintf(os.Stderr, "%s took %v\n", sc.name, time.Since(begin).Round(time.Second))
		for _, f := range findings {
			verdict := "held"
			if !f.held {
				verdict = "MISSED"
				missed++
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.what, f.measured, f.target, verdict)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if missed > 0 {
		return fmt.Errorf("%d targets missed", missed)
	}
	return nil
}

// lab is where the servers of all scenarios run.
type lab struct {
	settings
	folder  string
	plugins string // the plugin path
	n       int    // repositories made
}

func newLab(ctx context.Context, s settings) (*lab, error) {
	folder, err := os.MkdirTemp("", "thrum-chaos-")
	if err != nil {
		return nil, err
	}
	l := &lab{settings: s, folder: folder, plugins: filepath.Join(folder, "plugins")}
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(l.plugins, "thrum-backend-fault"), "./bench/chaos/fault")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		l.close()
		return nil, fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	return l, nil
}

func (l *lab) close() { _ = os.RemoveAll(l.folder) }

// repository makes a model repository with one model, named "model".
func (l *lab) repository(modelYAML string) (string, error) {
	l.n++
	root := filepath.Join(l.folder, fmt.Sprint("models", l.n))
	dir := filepath.Join(root, "model", "1")
	return root, errors.Join(os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(root, "model", "model.yaml"), []byte("backend: fault\n"+modelYAML), 0o644))
}

// serve starts a server with one model. More are its flags.
func (l *lab) serve(ctx context.Context, modelYAML string, more ...string) (*server, error) {
	root, err := l.repository(modelYAML)
	if err != nil {
		return nil, err
	}
	if len(more) == 0 {
		more = []string{"--control", "none"}
	}
	args := append([]string{"serve", "--models", root, "--plugin-path", l.plugins, "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, more...)
	return startServer(ctx, exec.Command(l.thrum, args...), l.log)
}
