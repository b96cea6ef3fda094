package plugins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
)

func TestMemoryLimitEndsOnlyWhoPassesIt(t *testing.T) {
	const limit = 2 << 30 // a program under the race detector has its shadow memory in it
	greedy := start(t, command("fake"), Options{Name: "greedy", Limits: Limits{MemoryBytes: limit}})
	modest := start(t, command("fake"), Options{Limits: Limits{MemoryBytes: limit}})
	m, other := load(t, greedy, 1), load(t, modest, 1)
	if _, err := m.Predict(t.Context(), doing(fmt.Sprintf("allocate %d", 16<<20))); err != nil {
		t.Errorf("Predict within the limit = %v", err)
	}
	_, err := m.Predict(t.Context(), doing(fmt.Sprintf("allocate %d", 2*limit)))
	if !isCrash(err) || !strings.Contains(err.Error(), "2048 MiB") || !strings.Contains(err.Error(), "memory") {
		t.Errorf("Predict past the limit = %v, want an ErrCrashed that names it", err)
	}
	within(t, "Done past the limit", greedy.Done())
	if err := greedy.Err(); !strings.Contains(err.Error(), "2048 MiB") {
		t.Errorf("Err past the limit = %v, want the limit in it", err)
	}
	if _, err := other.Predict(t.Context(), rows(1)); err != nil {
		t.Errorf("Predict of another process = %v", err)
	}
}

func TestMemoryLimitTooSmallToStart(t *testing.T) {
	_, err := Start(t.Context(), command("fake"), Options{Limits: Limits{MemoryBytes: 1 << 20}})
	if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "limited to 1 MiB") {
		t.Errorf("Start in 1 MiB = %v, want an ErrUnavailable that names the limit", err)
	}
}

func TestLimitsHoldForEveryThread(t *testing.T) {
	var here unix.CPUSet
	if err := unix.SchedGetaffinity(0, &here); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !here.IsSet(cpu) {
		cpu++
	}
	p := start(t, command("fake"), Options{Limits: Limits{Nice: 7, CPUs: []int{cpu}, Threads: 1}})
	if _, err := load(t, p, 1).Predict(t.Context(), rows(1000)); err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p.PID()))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads = %v, %v", threads, err)
	}
	for _, thread := range threads {
		var tid int
		if _, err := fmt.Sscan(filepath.Base(thread), &tid); err != nil {
			t.Fatal(err)
		}
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(tid, &set); err != nil || set.Count() != 1 || !set.IsSet(cpu) {
			t.Errorf("thread %d may run on %v, %v, want processor %d alone", tid, set, err, cpu)
		}
		// The system call, unlike the library, gives 20 - nice.
		if priority, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil || priority != 20-7 {
			t.Errorf("thread %d has priority %d, %v, want that of nice 7", tid, priority, err)
		}
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID()))
	if err != nil || !strings.Contains(string(environ), "GOMAXPROCS=1\x00") || !strings.Contains(string(environ), "OMP_NUM_THREADS=1\x00") {
		t.Errorf("environment = %q, %v, want one thread", environ, err)
	}
	var now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil || now != here {
		t.Errorf("the host may run on %v, %v, want %v as before", now, err, here)
	}
}

func TestSoftMemoryLimit(t *testing.T) {
	env := Limits{MemoryBytes: 1000}.environ()
	if len(env) != 1 || env[0] != "GOMEMLIMIT=900" {
		t.Errorf("environ = %v, want Go's limit below the hard one", env)
	}
}

func TestLimitsThatMakeNoSense(t *testing.T) {
	for situation, test := range map[string]struct {
		limits Limits
		kind   error
		want   string
	}{
		"negative memory":        {Limits{MemoryBytes: -1}, backends.ErrInvalid, "negative"},
		"negative threads":       {Limits{Threads: -1}, backends.ErrInvalid, "negative"},
		"too nice":               {Limits{Nice: 20}, backends.ErrInvalid, "nice 20"},
		"too urgent":             {Limits{Nice: -21}, backends.ErrInvalid, "nice -21"},
		"a negative processor":   {Limits{CPUs: []int{-1}}, backends.ErrInvalid, "cpu -1"},
		"no such processor ever": {Limits{CPUs: []int{1 << 20}}, backends.ErrInvalid, "no such processor"},
		"no such processor here": {Limits{CPUs: []int{1023}}, backends.ErrUnavailable, "cpus [1023]"},
		"none":                   {Limits{}, nil, ""},
	} {
		p, err := Start(t.Context(), command("fake"), Options{Limits: test.limits})
		if err == nil {
			_ = p.Close()
		}
		if !errors.Is(err, test.kind) || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Start = %v, want %v with %q", situation, err, test.kind, test.want)
		}
	}
}
