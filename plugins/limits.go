package plugins

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
)

// Limits bound what a plugin's process may take of the machine. They hold before the host asks
// anything of it, for all of its threads and for every process that it starts. The zero value
// sets none.
type Limits struct {
	// MemoryBytes is the most private memory that the process may have: heap, stacks and
	// everything else that is writable and its own. Files that it maps to read, and what it
	// shares with the host, do not count. An allocation beyond it fails, which most programs do
	// not survive. A Go program collects its garbage harder when it comes near.
	MemoryBytes int64

	// Threads is how many threads should compute at once. It is advice, in the variables that
	// Go (GOMAXPROCS) and OpenMP, OpenBLAS and MKL (OMP_NUM_THREADS) go by; CPUs is what cannot
	// be evaded.
	Threads int

	Nice int   // the scheduling priority, from -20, the most urgent, which takes a privilege, to 19
	CPUs []int // the processors, by their numbers, that the process may run on; all of the host's if empty
}

// check reports a limit that no process could live with or that means nothing.
func (l Limits) check() error {
	switch {
	case l.MemoryBytes < 0 || l.Threads < 0:
		return backends.Errorf(backends.ErrInvalid, "a limit of a plugin is negative: memory %d, threads %d", l.MemoryBytes, l.Threads)
	case l.Nice < -20 || l.Nice > 19:
		return backends.Errorf(backends.ErrInvalid, "nice %d: use -20, the most urgent, to 19", l.Nice)
	}
	for _, cpu := range l.CPUs {
		var set unix.CPUSet
		if set.Set(cpu); cpu < 0 || !set.IsSet(cpu) {
			return backends.Errorf(backends.ErrInvalid, "cpu %d: there is no such processor", cpu)
		}
	}
	return nil
}

// softMemory is the part of the memory limit at which Go collects garbage harder: the rest is
// for what its heap does not count.
const softMemory = 0.9

func (l Limits) environ() []string {
	var env []string
	if l.MemoryBytes > 0 {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(int64(softMemory*float64(l.MemoryBytes)), 10))
	}
	if l.Threads > 0 {
		n := strconv.Itoa(l.Threads)
		env = append(env, "GOMAXPROCS="+n, "OMP_NUM_THREADS="+n)
	}
	return env
}

// confineThread gives the calling thread what a process inherits from the thread that starts
// it. There is no way back: the thread must end after that.
func (l Limits) confineThread() error {
	if l.Nice != 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, l.Nice); err != nil {
			return fmt.Errorf("nice %d: %w: a priority above the host's own takes CAP_SYS_NICE", l.Nice, err)
		}
	}
	if len(l.CPUs) == 0 {
		return nil
	}
	var set unix.CPUSet
	for _, cpu := range l.CPUs {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("cpus %v: %w: the host may run on none of them", l.CPUs, err)
	}
	return nil
}

// confineProcess bounds the memory of a process that has just been started. The limit is
// RLIMIT_DATA: it takes no privilege and no cgroup, and counts neither address space that is
// only reserved, of which Go and CUDA take plenty, nor shared memory.
func (l Limits) confineProcess(pid int) error {
	if l.MemoryBytes == 0 {
		return nil
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, nil, &limit); err != nil {
		return fmt.Errorf("memory limit: %w", err)
	}
	limit.Max = min(limit.Max, uint64(l.MemoryBytes))
	limit.Cur = min(limit.Cur, limit.Max)
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil); err != nil {
		return fmt.Errorf("memory limit: %w", err)
	}
	return nil
}

// blame names the limits that can be why a process died.
func (l Limits) blame() string {
	if l.MemoryBytes == 0 {
		return ""
	}
	return fmt.Sprintf(" (its memory is limited to %.4g MiB)", float64(l.MemoryBytes)/(1<<20))
}
