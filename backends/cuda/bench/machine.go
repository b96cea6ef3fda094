//go:build cuda

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

var errNoDevice = errors.New("no device") // which its text never says: the backend's own does

// refusal is a reason of the backend's why there is no device.
type refusal struct{ error }

func (refusal) Is(target error) bool { return target == errNoDevice }

// machine is what the figures are of.
type machine struct {
	Device  string
	State   map[string]string `json:",omitempty"` // what nvidia-smi answers to queries
	Unknown string            `json:",omitempty"` // why it answers nothing
}

func (m machine) String() string {
	text := m.Device
	for _, q := range queries {
		if v := m.State[q]; v != "" {
			text += fmt.Sprintf("\n  %s: %s", q, v)
		}
	}
	if len(m.State) == 0 {
		text += "\n  driver, clocks and power limit are not known: " + m.Unknown
	}
	return text
}

// queries are what nvidia-smi is asked.
var queries = []string{"driver_version", "clocks.max.sm", "clocks.max.mem", "clocks.sm", "clocks.mem", "power.limit", "power.draw", "temperature.gpu", "compute_mode", "mig.mode.current"}

// describe says what device there is.
func (s settings) describe(ctx context.Context) (machine, error) {
	b := s.backend()
	defer b.Close()
	info, err := b.Info(ctx)
	if err != nil {
		return machine{}, refusal{err}
	}
	m := machine{Device: info.Device}
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--id=0", "--format=csv,noheader", "--query-gpu="+strings.Join(queries, ",")).Output()
	if err != nil {
		m.Unknown = oneLine(fmt.Sprintf("%v %s", err, out))
		return m, nil
	}
	m.State = map[string]string{}
	for i, v := range strings.Split(strings.TrimSpace(string(out)), ", ") {
		if i < len(queries) {
			m.State[queries[i]] = v
		}
	}
	return m, nil
}

// libraries is the environment in which a process finds the cuBLASLt that an interpreter has brought along, where
// the system has none.
func (s settings) libraries(ctx context.Context) []string {
	const find = "import glob, os, sysconfig; print(':'.join(sorted({os.path.dirname(f) for f in glob.glob(sysconfig.get_paths()['purelib'] + '/nvidia/**/libcublasLt.so.*', recursive=True)})))"
	words := strings.Fields(s.python)
	if len(words) == 0 {
		return nil
	}
	out, err := exec.CommandContext(ctx, words[0], "-c", find).Output()
	folders := strings.TrimSpace(string(out))
	if err != nil || folders == "" {
		return nil
	}
	if before := os.Getenv("LD_LIBRARY_PATH"); before != "" {
		folders = before + ":" + folders
	}
	return []string{"LD_LIBRARY_PATH=" + folders}
}
