package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestMain lets the test's own binary be the floor that tests start.
func TestMain(m *testing.M) {
	if address := os.Getenv("TEST_FLOOR"); address != "" {
		exitOn(serveFloor(address, floorAnswer(nullModel())))
		return
	}
	os.Exit(m.Run())
}

// shell is a system whose server is a child of the process that is started.
func shell(t *testing.T, script string) system {
	t.Helper()
	return system{name: "shell", json: oipJSON, command: func(p place) ([]string, error) {
		script := strings.ReplaceAll(script, "SERVER", "TEST_FLOOR=127.0.0.1:"+strconv.Itoa(p.port)+" "+os.Args[0])
		return []string{"sh", "-c", script}, nil
	}}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestASystemIsItsWholeTree(t *testing.T) {
	run, err := start(t.Context(), shell(t, "trap '' TERM; SERVER & wait; wait"), place{port: freePort(t), model: nullModel()})
	if err != nil {
		t.Fatal(err)
	}
	all := tree(run.cmd.Process.Pid)
	if len(all) != 2 || run.cpu() == 0 || run.memory() == 0 || run.ready == 0 {
		t.Errorf("tree %v has CPU %v and %d bytes, ready after %v: want two processes and their figures", all, run.cpu(), run.memory(), run.ready)
	}
	run.patience = 0
	if err := run.stop(); err != nil {
		t.Error(err)
	}
	for _, p := range all {
		if p.alive() {
			t.Errorf("process %d lives on", p.pid)
		}
	}
	if _, err := os.Stat(run.dir); err == nil {
		t.Error("its folder is still there")
	}
}

func TestASystemThatDoesNotStart(t *testing.T) {
	if _, err := start(t.Context(), shell(t, "echo no such model; exit 3"), place{port: freePort(t), model: nullModel()}); err == nil || !strings.Contains(err.Error(), "no such model") {
		t.Errorf("start = %v, want what it printed", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := start(ctx, shell(t, "exec sleep 60"), place{port: freePort(t), model: nullModel()}); err == nil {
		t.Error("start goes on after its context")
	}
}
