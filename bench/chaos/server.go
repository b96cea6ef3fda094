package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is a server process.
type server struct {
	cmd         *exec.Cmd
	http, admin string        // addresses
	ended       chan struct{} // closed when the process has ended
	show        bool          // print the log as it comes

	mu   sync.Mutex
	tail []string // the last lines of its log
}

var readyLine = regexp.MustCompile(`msg=ready http=(\S+) admin=(\S+)`)

// startServer starts a server and waits until its log says that it is ready.
func startServer(ctx context.Context, cmd *exec.Cmd, show bool) (*server, error) {
	s := &server{cmd: cmd, ended: make(chan struct{}), show: show}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: `make build` builds the server", err)
	}
	ready := make(chan struct{})
	go s.read(stderr, ready)
	select {
	case <-ready:
		return s, nil
	case <-s.ended:
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
	}
	s.kill()
	return nil, fmt.Errorf("%s does not get ready:\n%s", cmd, s.log())
}

// read follows the log to the end of the process.
func (s *server) read(stderr io.Reader, ready chan<- struct{}) {
	defer close(s.ended)
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		s.mu.Lock()
		s.tail = append(s.tail, lines.Text())
		if s.show {
			fmt.Fprintln(os.Stderr, lines.Text())
		}
		if len(s.tail) > 200 {
			s.tail = slices.Delete(s.tail, 0, 100)
		}
		s.mu.Unlock()
		if match := readyLine.FindStringSubmatch(lines.Text()); match != nil {
			s.http, s.admin = match[1], match[2]
			close(ready)
		}
	}
	_ = s.cmd.Wait() // how it ended is in its log
}

func (s *server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.tail, "\n")
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// stop ends the server in order.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		s.kill()
	}
}

// instances returns the plugin processes, in the order of their ids.
func (s *server) instances() []int {
	var pids []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	for _, task := range tasks {
		children, _ := os.ReadFile(task) // of a thread that has ended: nothing
		for _, field := range strings.Fields(string(children)) {
			if pid, err := strconv.Atoi(field); err == nil && alive(pid) {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return pids
}

// alive reports whether a process runs. One that nobody has waited for yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

// residentBytes returns the memory of a process.
func residentBytes(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	_, err = fmt.Sscan(string(text), &size, &resident)
	return float64(resident * int64(os.Getpagesize())), err
}

// get returns the body of a 200.
func get(url string) (string, error) {
	reply, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err == nil && reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s = %d %.200s", url, reply.StatusCode, body)
	}
	return string(body), err
}

// metrics returns the values of all series that begin with one of the names, by name.
func (s *server) metrics(names ...string) (map[string]float64, error) {
	text, err := get("http://" + s.admin + "/metrics")
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for line := range strings.SplitSeq(text, "\n") {
		at := strings.LastIndexByte(line, ' ')
		series, text := line[:max(at, 0)], line[at+1:]
		for _, name := range names {
			if !strings.HasPrefix(series, name) {
				continue
			}
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, err
			}
			values[name] += value
		}
	}
	return values, nil
}

const (
	liveInstances = `thrum_instances{model="model",state="live"`
	restarts      = `thrum_instance_restarts_total{`
	hangs         = `thrum_instance_hangs_total{`
	refused       = `thrum_quarantine_refused_total{`
)

// until waits for a condition on the metrics, at most as long as is given.
func (s *server) until(ctx context.Context, most time.Duration, condition func(m map[string]float64) bool) error {
	for deadline := time.Now().Add(most); ; {
		m, err := s.metrics(liveInstances, restarts, hangs, refused)
		if err == nil && condition(m) {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return errors.Join(err, ctx.Err(), fmt.Errorf("after %v the metrics are %v:\n%s", most, m, s.log()))
		}
		time.Sleep(10 * time.Millisecond)
	}
}
