package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
)

// soon is the bound for what should take milliseconds.
const soon = 5 * time.Second

// within fails the test when a channel is not closed soon.
func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(soon):
		t.Fatalf("%s: not within %v", what, soon)
	}
}

// leavesNothing checks at the end of the test that no temporary file is left.
func leavesNothing(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "p") // t.TempDir is too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		_ = os.RemoveAll(dir)
	})
}

func TestConformance(t *testing.T) {
	fixture := backendtest.Fixture{Spec: backends.Spec{Model: "affine", Version: "1", Dir: modelDir(t, 5)}}
	for _, transport := range []string{TransportShared, TransportGRPC} {
		t.Run(transport, func(t *testing.T) {
			open := func(t *testing.T) backends.Backend { return start(t, command("fake"), Options{Transport: transport}) }
			backendtest.Run(t, open, fixture)
		})
	}
}

func TestStartSaysWhyItFails(t *testing.T) {
	for name, test := range map[string]struct {
		command Command
		options Options
		want    []string
	}{
		"no such program":    {Command{Path: "/no/such/program"}, Options{}, []string{"program", "no such file"}},
		"it exits":           {command("dying"), Options{Name: "cpu"}, []string{"cpu", "exit status 3", "no such device"}},
		"it is no plugin":    {command("chatty"), Options{}, []string{"usage: something else"}},
		"it says nothing":    {command("silent"), Options{StartTimeout: 300 * time.Millisecond}, []string{"timeout"}},
		"another protocol":   {command("future"), Options{}, []string{strconv.Itoa(ProtocolVersion), strconv.Itoa(ProtocolVersion + 1)}},
		"started by no host": {Command{Path: "/bin/sh", Args: []string{"-c", "exec 3>&-; exec " + os.Args[0]}, Env: command("fake").Env}, Options{}, []string{"start this plugin from its host"}},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			test.options.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
			p, err := Start(t.Context(), test.command, test.options)
			if !errors.Is(err, backends.ErrUnavailable) || p != nil {
				t.Fatalf("Start = %v, %v, want ErrUnavailable", p, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Start = %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	leavesNothing(t)
	fifo := newFIFO(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		fifo.pid(t) // the process runs
		cancel()
	}()
	_, err := Start(ctx, command("mute", fifoKey+"="+fifo.path), Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v, want context.Canceled", err)
	}
	fifo.ended(t)
}

func TestSocketPathTooLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	if _, err := Start(t.Context(), command("fake"), Options{}); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("Start = %v, want an ErrUnavailable that names TMPDIR", err)
	}
}

func TestErrorsKeepTheirIdentity(t *testing.T) {
	m := load(t, start(t, command("fake"), Options{}), 1)
	for i, k := range kinds {
		want := k.kind
		if want == context.Canceled { // not by this side: the plugin's failure
			want = backends.ErrUnavailable
		}
		_, err := m.Predict(t.Context(), doing(fmt.Sprintf("error %d", i)))
		if !errors.Is(err, want) || !strings.Contains(err.Error(), fmt.Sprintf("error %d", i)) {
			t.Errorf("%v came back as %v, want %v", k.kind, err, want)
		}
	}
}

func TestContextCrosses(t *testing.T) {
	log := newRecords()
	m := load(t, start(t, command("fake"), Options{Log: slog.New(log)}), 1)

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		log.next(t, "waiting")
		cancel()
	}()
	if _, err := m.Predict(ctx, doing("wait")); !errors.Is(err, context.Canceled) {
		t.Errorf("Predict, then cancelled = %v, want context.Canceled", err)
	}
	if why := attrsOf(log.next(t, "waited"))["error"]; why != context.Canceled.Error() {
		t.Errorf("the plugin's context ended with %q, want %q", why, context.Canceled)
	}

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Predict(ctx, doing("wait")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Predict past its deadline = %v, want context.DeadlineExceeded", err)
	}
	log.next(t, "waited")
}

func TestPanicFailsOneCall(t *testing.T) {
	log := newRecords()
	m := load(t, start(t, command("fake"), Options{Log: slog.New(log)}), 1)
	_, err := m.Predict(t.Context(), doing("panic"))
	if err == nil || !strings.Contains(err.Error(), "asked to") || errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Predict that panics = %v, want a fault of ours that names it", err)
	}
	if r := log.next(t, "panic in the backend"); r.Level != slog.LevelError || !strings.Contains(attrsOf(r)["stack"], "misbehave") {
		t.Errorf("logged %v %v, want the stack at level Error", r.Level, attrsOf(r))
	}
	if _, err := m.Predict(t.Context(), rows(1)); err != nil {
		t.Errorf("Predict after a panic = %v", err)
	}
}

func TestCrashFailsCallsUnderWay(t *testing.T) {
	log := newRecords()
	p := start(t, command("fake"), Options{Name: "cpu", Log: slog.New(log)})
	m := load(t, p, 1)
	result := make(chan error)
	go func() {
		_, err := m.Predict(t.Context(), doing("wait"))
		result <- err
	}()
	log.next(t, "waiting")
	if _, err := m.Predict(t.Context(), doing("crash")); !isCrash(err) || !strings.Contains(err.Error(), "cpu") {
		t.Errorf("Predict that crashes = %v, want an ErrCrashed and ErrUnavailable that names the plugin", err)
	}
	if err := <-result; !isCrash(err) {
		t.Errorf("Predict beside a crash = %v, want ErrCrashed and ErrUnavailable", err)
	}
	within(t, "Done after a crash", p.Done())
	if r := log.next(t, "plugin died"); !strings.Contains(attrsOf(r)["reason"], "asked to crash") {
		t.Errorf("reason = %q, want the panic in it", attrsOf(r)["reason"])
	}
	if err := p.Err(); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "asked to crash") {
		t.Errorf("Err = %v, want an ErrUnavailable with the panic", err)
	}
	later := map[string]func() error{
		"Predict": func() error { _, err := m.Predict(t.Context(), rows(1)); return err },
		"Info":    func() error { _, err := p.Info(t.Context()); return err },
		"Load":    func() error { _, err := p.Load(t.Context(), backends.Spec{}); return err },
	}
	for name, call := range later {
		if err := call(); !errors.Is(err, backends.ErrUnavailable) || errors.Is(err, backends.ErrCrashed) {
			t.Errorf("%s after a crash = %v, want ErrUnavailable alone", name, err)
		}
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close of a model after a crash = %v", err)
	}
}

func isCrash(err error) bool {
	return errors.Is(err, backends.ErrCrashed) && errors.Is(err, backends.ErrUnavailable)
}

func TestDeathIsSeenWhileOutputStaysOpen(t *testing.T) {
	fifo := newFIFO(t)
	p := start(t, command("fake"), Options{})
	m := load(t, p, 1)
	if _, err := m.Predict(t.Context(), doing("linger "+fifo.path)); err != nil {
		t.Fatal(err)
	}
	kill(t, p.PID(), syscall.SIGKILL)
	within(t, "Done while a child of the plugin holds its output", p.Done())
	closed := make(chan struct{})
	go func() { defer close(closed); _ = p.Close() }()
	within(t, "Close while a child of the plugin holds its output", closed)
	fifo.release(t)
}

func TestStoppedPluginBlocksNobody(t *testing.T) {
	p := start(t, command("fake"), Options{InfoTimeout: 50 * time.Millisecond, CloseTimeout: 50 * time.Millisecond})
	stop(t, p.PID())
	if _, err := p.Info(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Info of a stopped plugin = %v, want context.DeadlineExceeded", err)
	}
	closed := make(chan struct{})
	go func() { defer close(closed); _ = p.Close() }()
	within(t, "Close of a stopped plugin", closed)
	within(t, "Done after Close", p.Done())
}

func TestBackendThatDoesNotClose(t *testing.T) {
	p := start(t, command("hanging"), Options{CloseTimeout: 50 * time.Millisecond})
	if err := p.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	within(t, "Done after Close", p.Done())
}

func TestSignalsOfAServiceDoNotEndAPlugin(t *testing.T) {
	p := start(t, command("fake"), Options{})
	kill(t, p.PID(), syscall.SIGTERM)
	kill(t, p.PID(), syscall.SIGINT)
	for range 20 { // the signals are on their way when kill returns
		if _, err := p.Info(t.Context()); err != nil {
			t.Fatalf("Info after SIGTERM and SIGINT = %v", err)
		}
	}
	if group, err := syscall.Getpgid(p.PID()); err != nil || group != p.PID() {
		t.Errorf("process group = %d, %v, want its own: a terminal signals the whole group", group, err)
	}
}

func TestCloseBesideCalls(t *testing.T) {
	leavesNothing(t)
	log := newRecords()
	p := start(t, command("fake"), Options{Log: slog.New(log)})
	m := load(t, p, 1)
	const calls = 8
	results := make(chan error, calls)
	for range calls {
		go func() {
			_, err := m.Predict(t.Context(), doing("wait"))
			results <- err
		}()
	}
	for range calls {
		log.next(t, "waiting")
	}
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() {
			if err := p.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		})
	}
	for range calls {
		if err := <-results; !errors.Is(err, backends.ErrUnavailable) || errors.Is(err, backends.ErrCrashed) {
			t.Errorf("Predict beside Close = %v, want ErrUnavailable alone", err)
		}
	}
	closers.Wait()
	within(t, "Done after Close", p.Done())
	if r := log.next(t, "plugin stopped"); r.Level != slog.LevelInfo {
		t.Errorf("stopping was logged at %v", r.Level)
	}
}

func TestNoFileIsNeededOnceStarted(t *testing.T) {
	leavesNothing(t)
	p := start(t, command("fake"), Options{})
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("while the plugin runs: %v, %v, want nothing that a crash could leave", left, err)
	}
	kill(t, p.PID(), syscall.SIGKILL)
	within(t, "Done", p.Done())
}

var lies = []string{
	"no outputs", "another name", "another datatype", "another rank", "another row", "negative", "enormous", "short data", "twice",
}

func TestLiesAreNotPassedOn(t *testing.T) {
	m := load(t, start(t, command("fake"), Options{}), 1)
	for _, what := range lies {
		out, err := m.Predict(t.Context(), doing("lie: "+what))
		if err == nil || !strings.Contains(err.Error(), "answered wrongly") || len(out.Tensors) > 0 {
			t.Errorf("%s: Predict = %v, %v, want an error", what, out, err)
		}
	}
}

// TestLiesOverGRPCEndThePlugin: there the plugin may be anybody's, who does not check what a
// backend says before it is sent.
func TestLiesOverGRPCEndThePlugin(t *testing.T) {
	for _, what := range lies {
		t.Run(what, func(t *testing.T) {
			p := start(t, command("fake"), Options{Transport: TransportGRPC})
			out, err := load(t, p, 1).Predict(t.Context(), doing("lie: "+what))
			if !errors.Is(err, backends.ErrCrashed) || !strings.Contains(err.Error(), "killed for what it did") || len(out.Tensors) > 0 {
				t.Errorf("Predict = %v, %v, want an ErrCrashed that says why", out, err)
			}
			within(t, "Done", p.Done())
		})
	}
}

func TestMessagesPastTheLimit(t *testing.T) {
	m := load(t, start(t, command("fake"), Options{Transport: TransportGRPC}), 1).(*Model)
	in := rows(16 << 20)
	for dataBytes(in) <= maxDataBytes {
		in.Tensors = append(in.Tensors, in.Tensors[0])
	}
	if _, err := m.exchange(t.Context(), in); !errors.Is(err, backends.ErrTooLarge) || !strings.Contains(err.Error(), "send fewer rows") {
		t.Errorf("exchange of %d bytes = %v, want an ErrTooLarge that says what to do", dataBytes(in), err)
	}
}
