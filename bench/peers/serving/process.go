package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
)

// process is a system that runs.
type process struct {
	system
	cmd   *exec.Cmd
	dir   string
	port  int
	log   bytes.Buffer
	ended chan struct{}
	ready time.Duration // from its start until its first right answer

	patience time.Duration // with its end, before it is killed
}

// startLimit is how long a system may take to answer.
const startLimit = 90 * time.Second

// start runs s and waits for its first right answer.
func start(ctx context.Context, s system, p place) (*process, error) {
	dir, err := os.MkdirTemp("", "bench-peers-"+s.name+"-")
	if err != nil {
		return nil, err
	}
	p.dir = dir
	argv, err := s.command(p)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if len(p.serverCPUs) > 0 {
		argv = append([]string{"taskset", "-c", join(p.serverCPUs)}, argv...)
	}
	run := &process{system: s, cmd: exec.Command(argv[0], argv[1:]...), dir: dir, port: p.port, ended: make(chan struct{}), patience: 15 * time.Second}
	run.cmd.Stdout, run.cmd.Stderr = &run.log, &run.log
	run.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that an interrupt reaches it through us alone
	run.cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "TMPDIR="+dir)
	run.cmd.WaitDelay = time.Second
	began := time.Now()
	if err := run.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() { _ = run.cmd.Wait(); close(run.ended) }()
	if err := run.await(ctx, p.model); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), run.stop())
	}
	run.ready = time.Since(began)
	return run, nil
}

func (r *process) await(ctx context.Context, m model) error {
	target := r.target(r.json, m)
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	for poll := time.NewTicker(10 * time.Millisecond); ; {
		err := ask(ctx, target, r.json, m, 0)
		if err == nil {
			poll.Stop()
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-r.ended:
			return fmt.Errorf("it ended while it started:\n%s", last(r.log.String(), 2000))
		case <-limit.C:
			return fmt.Errorf("no right answer within %v: %w", startLimit, err)
		}
	}
}

func last(text string, n int) string { return text[max(0, len(text)-n):] }

func (r *process) target(d dialect, m model) *attack.HTTP {
	path := d.path
	if strings.Contains(path, "%s") {
		path = fmt.Sprintf(path, m.name)
	}
	header := map[string][]string{"Cache-Control": {"no-store"}}
	for name, v := range d.header {
		header[name] = []string{v}
	}
	return &attack.HTTP{URL: "http://127.0.0.1:" + strconv.Itoa(r.port) + path, Header: header}
}

// ask sends row i by itself and checks the answer.
func ask(ctx context.Context, target *attack.HTTP, d dialect, m model, i int) error {
	c, err := target.Open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	request := d.encode(m, m.rows[i])
	reply, err := c.Do(&request, time.Now().Add(10*time.Second))
	if err != nil {
		return err
	}
	return right(d, m, i, reply)
}

func right(d dialect, m model, i int, reply attack.Reply) error {
	if reply.Status != 200 {
		return fmt.Errorf("status %d: %.300s", reply.Status, reply.Body)
	}
	got, err := d.decode(reply)
	if err != nil {
		return err
	}
	return m.check(i, got)
}

// stop ends the system and every process that it started, by their ids.
func (r *process) stop() error {
	all := tree(r.cmd.Process.Pid)
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-r.ended:
	case <-time.After(r.patience):
	}
	for _, p := range slices.Backward(all) {
		if p.alive() {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	<-r.ended
	return os.RemoveAll(r.dir)
}

// member is a process of a tree, told from a later one of its id by when it began.
type member struct {
	pid   int
	began string
}

func (m member) alive() bool { return m.began != "" && beganAt(m.pid) == m.began }

// tree returns a process and all that it and they started and that live.
func tree(pid int) []member {
	all := []member{{pid, beganAt(pid)}}
	for i := 0; i < len(all); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i].pid))
		for _, task := range tasks {
			text, _ := os.ReadFile(task) // the thread may have ended
			for _, child := range strings.Fields(string(text)) {
				if id, err := strconv.Atoi(child); err == nil {
					all = append(all, member{id, beganAt(id)})
				}
			}
		}
	}
	return all
}

// beganAt is field 22 of /proc/PID/stat, empty for a process that is no more.
func beganAt(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// cpu is the time that the system's processes have had, by the scheduler's clock.
func (r *process) cpu() time.Duration {
	var total time.Duration
	for _, p := range tree(r.cmd.Process.Pid) {
		total += cpuOf(p.pid)
	}
	return total
}

func cpuOf(pid int) (total time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task) // the thread may have ended
		var running int64
		if _, err := fmt.Sscan(string(text), &running); err == nil {
			total += time.Duration(running)
		}
	}
	return total
}

// memory is the bytes that the system's processes hold, shared pages divided among their holders.
func (r *process) memory() (bytes int64) {
	for _, p := range tree(r.cmd.Process.Pid) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		for line := range strings.Lines(string(text)) {
			var kilobytes int64
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kilobytes); n == 1 {
				bytes += kilobytes << 10
			}
		}
	}
	return bytes
}

func join(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ",")
}
