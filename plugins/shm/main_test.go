package shm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// roleKey makes this test binary the plugin of a host.
const roleKey = "THRUM_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleKey) == "plugin" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serve() error {
	p, err := Open(os.NewFile(3, "control"), os.NewFile(4, "socket"))
	if err != nil {
		return err
	}
	return p.Serve(2, answer)
}

// What a request's tag asks of answer.
const (
	doEcho = iota
	doNothing
	doWait
	doDie
)

// answer echoes, or does what the tag asks for.
func answer(ctx context.Context, r Request) Answer {
	switch r.Tag {
	case doNothing:
		return Answer{Code: 7, Tag: 8}
	case doWait:
		<-ctx.Done()
		n := copy(r.Room, context.Cause(ctx).Error())
		return Answer{Code: 9, Length: n}
	case doDie:
		os.Exit(3)
	}
	return Answer{Length: copy(r.Room, r.Data)}
}

var errBroken = errors.New("broken")

// soon is the bound for what should take milliseconds.
const soon = 10 * time.Second

// inProcess returns a host whose plugin is in the same process, on mappings of its own, and the
// channel on which Serve's error arrives.
func inProcess(t testing.TB, workers int, handle Handler) (*Host, <-chan error) {
	t.Helper()
	h := newHost(t)
	p, err := Open(h.theirs[0], h.theirs[1])
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(workers, handle) }()
	t.Cleanup(func() {
		p.Close()
		h.Close()
	})
	return h, served
}

func newHost(t testing.TB) *Host {
	t.Helper()
	h, err := NewHost(func(err error) error { return fmt.Errorf("%w: %w", errBroken, err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// process returns a host with a plugin process.
func process(t testing.TB) (*Host, *exec.Cmd) {
	t.Helper()
	h := newHost(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleKey+"=plugin", "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = h.Files()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.CloseFiles()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.Fail(fmt.Errorf("it has ended: %v", cmd.Wait()))
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return h, cmd
}

func acquire(t testing.TB, p *Pool, size int) *Slot {
	t.Helper()
	s, err := p.Acquire(t.Context(), size)
	if err != nil {
		t.Fatalf("Acquire(%d) = %v", size, err)
	}
	return s
}
