package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
)

// soon is the bound for what should take milliseconds.
const soon = 5 * time.Second

// roles are the programs that this test binary can be.
var roles = map[string]func(){
	"fake":    func() { Serve(fake()) },
	"future":  func() { serve(fake(), ProtocolVersion+1) },
	"silent":  func() { select {} },
	"dying":   func() { fmt.Fprintln(os.Stderr, "no such device"); os.Exit(3) },
	"chatty":  func() { fmt.Println("usage: something else entirely"); select {} },
	"host":    host,
	"deaf":    deaf,
	"mute":    func() { writePID(); select {} },
	"hanging": func() { Serve(&backendtest.Fake{OnClose: func() error { select {} }}) },
}

func fake() *backendtest.Fake {
	return &backendtest.Fake{OnPredict: misbehave, OnAnswer: lie}
}

// deaf serves without watching for the host's death, as a foreign plugin might.
func deaf() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: handshake(ProtocolVersion), Plugins: plugins(fake()), GRPCServer: newGRPCServer,
	})
}

// host starts a plugin, has it compute and waits to be killed.
func host() {
	role := "fake"
	if os.Getenv(deafKey) != "" {
		role = "deaf"
	}
	p, err := Start(context.Background(), command(role), Options{})
	if err != nil {
		panic(err)
	}
	m, err := p.Load(context.Background(), backends.Spec{Model: "affine", Version: "1", Dir: os.Getenv(dirKey)})
	if err != nil {
		panic(err)
	}
	_, err = m.Predict(context.Background(), doing("spin"))
	panic(err)
}

const (
	dirKey  = "THRUM_TEST_DIR"  // where host finds its model
	fifoKey = "THRUM_TEST_FIFO" // what a plugin holds open for writing while it lives
	deafKey = "THRUM_TEST_DEAF" // set for a host whose plugin is deaf
)

// doing is a batch of one row that asks the fake to do something.
func doing(what string) backends.Batch {
	b := rows(1)
	b.Parameters = []backends.Parameter{{Name: "do", Value: what}}
	return b
}

func asked(in backends.Batch) string {
	if len(in.Parameters) == 0 {
		return ""
	}
	return in.Parameters[0].Value
}

// misbehave does what the batch asks for.
func misbehave(ctx context.Context, in backends.Batch) error {
	what, argument, _ := strings.Cut(asked(in), " ")
	switch what {
	case "panic":
		panic("asked to")
	case "crash":
		go func() { panic("asked to crash") }()
		select {}
	case "wait":
		slog.Info("waiting")
		<-ctx.Done()
		slog.Info("waited", "error", ctx.Err().Error())
		return ctx.Err()
	case "spin":
		spin()
	case "error":
		i, _ := strconv.Atoi(argument)
		return backends.Errorf(kinds[i].kind, "error %d", i)
	case "log":
		logAll()
	case "linger":
		cmd := exec.Command("cat", argument)
		cmd.Stdout, cmd.Stderr = realStdout(), realStderr()
		if err := cmd.Start(); err != nil {
			return err
		}
	}
	return nil
}

// spin keeps every processor busy for ever, once it has said so and who it is.
func spin() {
	writePID()
	for range 2 * runtime.GOMAXPROCS(0) {
		go func() {
			for i := 0; ; i++ {
				_ = i
			}
		}()
	}
	select {}
}

func realStdout() *os.File { return os.NewFile(1, "stdout") }
func realStderr() *os.File { return os.NewFile(2, "stderr") }

func logAll() {
	slog.Debug("a detail")
	slog.Warn("a warning", "rows", 3, "why", "asked to")
	fmt.Fprintln(os.Stdout, "text on stdout")
	fmt.Fprintln(os.Stderr, "text on stderr")
	// What C code prints goes past os.Stdout.
	_, _ = syscall.Write(1, []byte(strings.Repeat("o", 3*maxLineBytes)+"\n"))
	_, _ = syscall.Write(2, []byte(`{"@message": 5, "@level": "info"}`+"\n"))
	_, _ = syscall.Write(2, []byte(`{"@message": "from hclog", "@level": "error", "@timestamp": "2026-01-02T03:04:05.000000Z", "n": 1}`+"\n"))
}

// lie spoils an answer as the batch asks.
func lie(in, out backends.Batch) backends.Batch {
	switch y := &out.Tensors[0]; asked(in) {
	case "lie: no outputs":
		out.Tensors = nil
	case "lie: another name":
		y.Name = "z"
	case "lie: another datatype":
		y.Datatype = backends.Int32
	case "lie: another rank":
		y.Shape = append(y.Shape, 1)
	case "lie: another row":
		y.Shape, y.Data = []int64{2, 1}, append(y.Data, y.Data...)
	case "lie: negative":
		y.Shape = []int64{-1, 1}
	case "lie: enormous":
		y.Shape = []int64{1 << 62, 1}
	case "lie: short data":
		y.Data = y.Data[1:]
	case "lie: twice":
		out.Tensors[1] = *y
	}
	return out
}

// rows is a batch for a fake of width 1.
func rows(n int) backends.Batch {
	return backends.Batch{Tensors: []backends.Tensor{
		{Name: "x", Datatype: backends.FP32, Shape: []int64{int64(n), 1}, Data: make([]byte, 4*n)},
	}}
}

// command runs this test binary in a role.
func command(role string, env ...string) Command {
	env = append(env, roleKey+"="+role, "GORACE=atexit_sleep_ms=0") // else a -race program ends a second late
	return Command{Path: os.Args[0], Env: append(os.Environ(), env...)}
}

func start(t *testing.T, cmd Command, o Options) *Process {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	p, err := Start(t.Context(), cmd, o)
	if err != nil {
		t.Fatalf("Start = %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return p
}

func load(t *testing.T, b backends.Backend, width int) backends.Model {
	t.Helper()
	m, err := b.Load(t.Context(), backends.Spec{Model: "affine", Version: "1", Dir: modelDir(t, width)})
	if err != nil {
		t.Fatalf("Load = %v", err)
	}
	return m
}

func modelDir(t *testing.T, width int) string {
	t.Helper()
	dir := t.TempDir()
	if err := backendtest.WriteFake(dir, width, 2, 1); err != nil {
		t.Fatal(err)
	}
	return dir
}

// records collects the host's log.
type records struct {
	slog.Handler
	attrs []slog.Attr
	seen  chan slog.Record
}

func newRecords() *records { return &records{seen: make(chan slog.Record, 1000)} }

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &records{attrs: slices.Concat(r.attrs, attrs), seen: r.seen}
}
func (r *records) Handle(_ context.Context, record slog.Record) error {
	record = record.Clone()
	record.AddAttrs(r.attrs...)
	r.seen <- record
	return nil
}

// next waits for a record with that message.
func (r *records) next(t *testing.T, message string) slog.Record {
	t.Helper()
	late := time.After(soon)
	for {
		select {
		case record := <-r.seen:
			if strings.HasPrefix(record.Message, message) {
				return record
			}
		case <-late:
			t.Fatalf("no %q in the host's log", message)
		}
	}
}

func attrsOf(r slog.Record) map[string]string {
	all := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { all[a.Key] = a.Value.String(); return true })
	return all
}

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
	open := func(t *testing.T) backends.Backend { return start(t, command("fake"), Options{}) }
	backendtest.Run(t, open, backendtest.Fixture{Spec: backends.Spec{Model: "affine", Version: "1", Dir: modelDir(t, 5)}})
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

func TestLiesAreNotPassedOn(t *testing.T) {
	m := load(t, start(t, command("fake"), Options{}), 1)
	for _, what := range []string{
		"no outputs", "another name", "another datatype", "another rank", "another row", "negative", "enormous", "short data", "twice",
	} {
		out, err := m.Predict(t.Context(), doing("lie: "+what))
		if err == nil || !strings.Contains(err.Error(), "answered wrongly") || len(out.Tensors) > 0 {
			t.Errorf("%s: Predict = %v, %v, want an error", what, out, err)
		}
	}
}

func TestMessagesPastTheLimit(t *testing.T) {
	m := load(t, start(t, command("fake"), Options{}), 1).(*model)
	in := rows(16 << 20)
	for dataBytes(in) <= maxDataBytes {
		in.Tensors = append(in.Tensors, in.Tensors[0])
	}
	if _, err := m.exchange(t.Context(), in); !errors.Is(err, backends.ErrTooLarge) || !strings.Contains(err.Error(), "send fewer rows") {
		t.Errorf("exchange of %d bytes = %v, want an ErrTooLarge that says what to do", dataBytes(in), err)
	}
}

func TestLogsArriveAsTheyWere(t *testing.T) {
	log := newRecords()
	m := load(t, start(t, command("fake"), Options{Name: "cpu", Log: slog.New(log).With("model", "digits")}), 1)
	if _, err := m.Predict(t.Context(), doing("log")); err != nil {
		t.Fatal(err)
	}
	want := map[string]slog.Level{
		"a detail": slog.LevelDebug, "a warning": slog.LevelWarn, "from hclog": slog.LevelError,
		"text on stdout": slog.LevelInfo, "text on stderr": slog.LevelInfo, "ooooo": slog.LevelInfo, `{"@message": 5`: slog.LevelInfo,
	}
	late := time.After(soon)
	for len(want) > 0 {
		select {
		case r := <-log.seen:
			for message, level := range want {
				if !strings.HasPrefix(r.Message, message) {
					continue
				}
				delete(want, message)
				attrs := attrsOf(r)
				if r.Level != level || attrs["plugin"] != "cpu" || attrs["model"] != "digits" {
					t.Errorf("%q arrived at level %v with %v, want %v of plugin cpu, model digits", message, r.Level, attrs, level)
				}
				if message == "a warning" && (attrs["rows"] != "3" || attrs["why"] != "asked to") {
					t.Errorf("%q arrived with %v", message, attrs)
				}
			}
		case <-late:
			t.Fatalf("did not arrive: %v", want)
		}
	}
}

func TestNoOrphans(t *testing.T) {
	for name, test := range map[string]struct {
		env  string
		stop bool
	}{
		"busy":                       {},
		"blind to the host's end":    {env: deafKey + "=1"},
		"stopped when the host dies": {stop: true},
	} {
		t.Run(name, func(t *testing.T) {
			fifo := newFIFO(t)
			as := command("host", fifoKey+"="+fifo.path, dirKey+"="+modelDir(t, 1), test.env)
			host := exec.Command(as.Path)
			host.Env = as.Env
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			pid := fifo.pid(t)
			defer func() {
				if t.Failed() {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}()
			if test.stop {
				kill(t, pid, syscall.SIGSTOP)
			}
			kill(t, host.Process.Pid, syscall.SIGKILL)
			_ = host.Wait()
			fifo.ended(t)
		})
	}
}

func TestPipeEndsABusyPlugin(t *testing.T) {
	fifo := newFIFO(t)
	p := start(t, command("fake", fifoKey+"="+fifo.path), Options{})
	m := load(t, p, 1)
	result := make(chan error)
	go func() {
		_, err := m.Predict(t.Context(), doing("spin"))
		result <- err
	}()
	fifo.pid(t)
	_ = p.child.host.Close()
	within(t, "Done after the end of the pipe", p.Done())
	if err := <-result; !isCrash(err) {
		t.Errorf("Predict = %v, want ErrCrashed and ErrUnavailable", err)
	}
}

func kill(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// stop returns when a child of this process has stopped.
func stop(t *testing.T, pid int) {
	t.Helper()
	kill(t, pid, syscall.SIGSTOP)
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
}

// fifo is held open for writing by a process, so that its end of file tells that the process
// is gone, whoever is its parent by then.
type fifo struct {
	path string
	file *os.File
}

func newFIFO(t *testing.T) *fifo {
	t.Helper()
	f := &fifo{path: filepath.Join(t.TempDir(), "fifo")}
	if err := syscall.Mkfifo(f.path, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// writePID is what the process does.
func writePID() {
	file, err := os.OpenFile(os.Getenv(fifoKey), os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(file, os.Getpid())
	held = file
}

// held keeps the FIFO open.
var held *os.File

// pid waits for the process and returns its id.
func (f *fifo) pid(t *testing.T) (pid int) {
	t.Helper()
	file, err := os.Open(f.path) // blocks until the process opens it, too
	if err != nil {
		t.Error(err)
		return
	}
	f.file = file
	t.Cleanup(func() { _ = file.Close() })
	if _, err := fmt.Fscanln(file, &pid); err != nil {
		t.Errorf("reading the process id: %v", err)
	}
	return pid
}

// ended waits for the end of the process.
func (f *fifo) ended(t *testing.T) {
	t.Helper()
	if err := f.file.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(f.file); err != nil {
		t.Errorf("the process is still there: %q, %v", rest, err)
	}
}

// release lets a process go that reads the FIFO to its end.
func (f *fifo) release(t *testing.T) {
	t.Helper()
	file, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
}
