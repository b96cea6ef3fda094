package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
)

// roleKey makes this test binary act as another program: a plugin, or a host of one.
const roleKey = "THRUM_TEST_ROLE"

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleKey)]; ok {
		role()
		os.Exit(0)
	}
	if lie, ok := liars[os.Getenv(roleKey)]; ok {
		liar(lie)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

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
	"wordy":   func() { Serve(wordy{}) },
	"metered": func() { Serve(metered{fake(), []backends.Device{gpu()}, nil}) },

	"metered: none":  func() { Serve(metered{Fake: fake()}) },
	"metered: error": func() { Serve(metered{fake(), nil, errors.New("no device today")}) },
	"metered: lie":   func() { Serve(metered{fake(), []backends.Device{lyingDevice()}, nil}) },

	"hanging": func() { Serve(&backendtest.Fake{OnClose: func() error { select {} }}) },
}

func fake() *backendtest.Fake {
	return &backendtest.Fake{OnPredict: misbehave, OnAnswer: lie}
}

// deaf serves without watching for the host's death, as a foreign plugin might.
func deaf() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: handshake(ProtocolVersion), Plugins: plugins(newServer(fake())), GRPCServer: newGRPCServer,
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
	case "exit":
		i, _ := strconv.Atoi(argument)
		os.Exit(i)
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
	case "allocate":
		n, _ := strconv.Atoi(argument)
		hoard = append(hoard, make([]byte, n))
	case "linger":
		cmd := exec.Command("cat", argument)
		cmd.Stdout, cmd.Stderr = realStdout(), realStderr()
		if err := cmd.Start(); err != nil {
			return err
		}
	}
	return nil
}

var hoard [][]byte // what was allocated

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
