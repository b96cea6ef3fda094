package plugins

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
