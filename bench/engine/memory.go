package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/weights"
	"github.com/thrumserve/thrum/bench/peers/engine"
	"github.com/thrumserve/thrum/bench/turns"
	"github.com/thrumserve/thrum/plugins"
)

const mib = 1 << 20

// memory is what a process with a model holds, beside what the model's weights are by themselves.
func (l *lab) memory(ctx context.Context) ([]turns.Finding, error) {
	var all []turns.Finding
	var errs []error
	for _, name := range []string{"encoder", "resnet50"} {
		m, err := l.model(name)
		if err != nil {
			return all, err
		}
		for _, precision := range []string{"fp32", "bf16", "int8"} {
			resident, err := memoryOf(ctx, m, precision)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s, %s: %w", name, precision, err))
				continue
			}
			bytes := m.Parameters * map[string]int64{"fp32": 4, "bf16": 2, "int8": 1}[precision]
			all = append(all, turns.Finding{
				What: fmt.Sprintf("memory of a process with %s loaded and asked once, %s", name, precision),
				Measured: fmt.Sprintf("%d MiB for %d MiB of weights: %.2f× + 20 MiB", resident/mib, bytes/mib,
					float64(resident-20*mib)/float64(bytes)),
				Target: "≤ 1.3× + 20 MiB", Verdict: turns.Judge(10*(resident-20*mib) <= 13*bytes),
			})
		}
	}
	return all, errors.Join(errs...)
}

// memoryOf returns the bytes that a plugin process has resident, shared weights included, when
// it has loaded a model and answered a batch of one row.
func memoryOf(ctx context.Context, m engine.Model, precision string) (resident int64, err error) {
	shared, err := weights.NewFile()
	if err != nil {
		return 0, err
	}
	defer shared.Close()
	p, err := plugins.Start(ctx, plugins.Command{Path: "/proc/self/exe", Env: append(os.Environ(), roleKey+"=plugin")},
		plugins.Options{Name: "cpu", Log: slog.New(slog.DiscardHandler), Weights: shared})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	options := map[string]string{"threads": "2"}
	if precision != "fp32" {
		options["precision"] = precision
	}
	loaded, err := p.Load(ctx, backends.Spec{Model: "memory", Version: "1", Dir: m.Dir, Options: options, Weights: shared})
	if err != nil {
		return 0, err
	}
	inputs, err := m.Inputs("1")
	if err != nil {
		return 0, err
	}
	answer, err := loaded.Predict(ctx, backends.Batch{Tensors: inputs})
	if err != nil {
		return 0, err
	}
	answer.Release()
	return residentOf(p.PID())
}

// residentOf returns the bytes that a process has in memory, whoever else has them too.
func residentOf(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int64
		if _, err := fmt.Sscanf(lines.Text(), "VmRSS: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("process %d says nothing of its memory", pid)
}
