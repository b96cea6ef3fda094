//go:build linux && (amd64 || arm64)

package weights

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// locker is what the processes of one model inherit.
type locker struct{ file, socket *os.File }

func newLocker(t testing.TB) locker {
	t.Helper()
	socket, err := NewLocker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return locker{newFile(t), socket}
}

func (l locker) open(t *testing.T) *Locker {
	t.Helper()
	open, err := OpenLocker(t.Context(), l.file, l.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(open.Close)
	return open
}

// written returns a file in which text is to be read from its beginning.
func written(t *testing.T, text string) *os.File {
	t.Helper()
	f := newFile(t)
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

// found is what is in a locker.
func found(t *testing.T, l *Locker) (text string, n int64) {
	t.Helper()
	f, n, err := l.Look()
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		return "", n
	}
	defer f.Close()
	all, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
	if err != nil {
		t.Fatal(err)
	}
	return string(all), n
}

func TestLockerKeepsWhatIsLeft(t *testing.T) {
	shared := newLocker(t)
	l := shared.open(t)
	if text, n := found(t, l); text != "" || n != 0 {
		t.Errorf("an empty locker has %q, %d", text, n)
	}
	for n, text := range []string{"first", "second"} {
		f := written(t, text)
		if err := l.Put(f, int64(n)+1<<40); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for range 3 {
		if text, n := found(t, l); text != "second" || n != 1+1<<40 {
			t.Errorf("Look = %q, %d, want what was put there last, each time", text, n)
		}
	}
	l.Close()
	if text, _ := found(t, shared.open(t)); text != "second" {
		t.Errorf("who opens it next finds %q", text)
	}
}

// TestLockerGoesWithItsLast looks at the other end of a pipe, which is closed when the handle is nowhere any more.
func TestLockerGoesWithItsLast(t *testing.T) {
	shared := newLocker(t)
	l := shared.open(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := l.Put(w, 0); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ended := func() bool {
		poll := []unix.PollFd{{Fd: int32(r.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		return err == nil && n == 1 && poll[0].Revents&unix.POLLHUP != 0
	}
	if ended() {
		t.Error("what is in a locker is closed")
	}
	shared.socket.Close()
	if !ended() {
		t.Error("what was in a locker that is gone is open")
	}
}

func TestLockerIsReadByAnotherProcess(t *testing.T) {
	shared := newLocker(t)
	l := shared.open(t)
	if err := l.Put(written(t, "from one process to another"), 27); err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env, c.ExtraFiles = append(os.Environ(), lookingKey+"=1"), []*os.File{shared.file, shared.socket}
	if out, err := c.Output(); err != nil || string(out) != "from one process to another" {
		t.Errorf("another process finds %q, %v", out, err)
	}
	if _, n := found(t, shared.open(t)); n != 27 {
		t.Error("it has taken what it found")
	}
}

// lookingKey makes this test binary a process that says what it finds in the locker that it inherits.
const lookingKey = "THRUM_TEST_LOOKING"

func look() {
	l, err := OpenLocker(context.Background(), os.NewFile(3, "weights"), os.NewFile(4, "locker"))
	if err != nil {
		os.Exit(1)
	}
	f, n, err := l.Look()
	if err != nil {
		os.Exit(2)
	}
	if _, err := io.Copy(os.Stdout, io.NewSectionReader(f, 0, n)); err != nil {
		os.Exit(3)
	}
}

func TestLockerIsOpenOnceAtATime(t *testing.T) {
	shared := newLocker(t)
	l := shared.open(t)
	if _, err := openLocker(t.Context(), shared.file, shared.socket, time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("OpenLocker of an open one = %v, want %v", err, context.DeadlineExceeded)
	}
	opened := make(chan error)
	go func() {
		next, err := OpenLocker(t.Context(), shared.file, shared.socket)
		if err == nil {
			next.Close()
		}
		opened <- err
	}()
	l.Close()
	if err := <-opened; err != nil {
		t.Errorf("OpenLocker when it is closed = %v", err)
	}
}

func TestLockerThatIsNone(t *testing.T) {
	shared := newLocker(t)
	for situation, l := range map[string]locker{"no socket": {shared.file, nil}, "no file": {nil, shared.socket}} {
		if _, err := OpenLocker(t.Context(), l.file, l.socket); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: OpenLocker = %v, want %v", situation, err, ErrUnavailable)
		}
	}
	other, err := OpenLocker(t.Context(), shared.file, newFile(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Look(); err == nil {
		t.Error("Look finds something in what is no socket")
	}
	if err := other.Put(newFile(t), 1); err == nil {
		t.Error("Put leaves something in what is no socket")
	}
}

// TestLockerWithNoHandle has a message in it that no process of ours has left.
func TestLockerWithNoHandle(t *testing.T) {
	shared := newLocker(t)
	l := shared.open(t)
	if _, err := unix.Write(int(shared.socket.Fd()), []byte("words")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Look(); !errors.Is(err, ErrMismatch) {
		t.Errorf("Look = %v, want %v", err, ErrMismatch)
	}
	if err := l.Put(written(t, "a handle"), 8); err != nil {
		t.Fatal(err)
	}
	if text, n := found(t, l); text != "a handle" || n != 8 {
		t.Errorf("Look = %q, %d, want what was put there instead", text, n)
	}
}

// TestNobodyElsePutsIntoALocker knows its address.
func TestNobodyElsePutsIntoALocker(t *testing.T) {
	shared := newLocker(t)
	address, err := unix.Getsockname(int(shared.socket.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	other, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if err := unix.Sendto(other, []byte("words"), 0, address); !errors.Is(err, unix.EPERM) {
		t.Errorf("a stranger's message = %v, want %v", err, unix.EPERM)
	}
}
