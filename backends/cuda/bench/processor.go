//go:build cuda

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/bench/turns"
	"github.com/thrumserve/thrum/plugins"
)

// processor measures what the plugin's process takes of the processor for a batch, without a server: this
// program is its host.
func (l *lab) processor(ctx context.Context) (err error) {
	rows := l.served
	what, target := fmt.Sprintf("processor time per batch of %d rows, of the plugin", rows), "≤ 15 µs"
	dir, err := l.model(l.encoding)
	if err != nil {
		return l.failed(what, target, err)
	}
	command, err := l.plugin()
	if err != nil {
		return l.failed(what, target, err)
	}
	p, err := plugins.Start(ctx, command, plugins.Options{Name: "cuda", AutoMTLS: true})
	if err != nil {
		return l.failed(what, target, err)
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	m, err := p.Load(ctx, backends.Spec{Model: "encoder", Version: "1", Dir: dir, MaxRows: rows, Options: map[string]string{"precision": "bf16"}})
	if err != nil {
		return l.failed(what, target, err)
	}
	var all []float64
	var each time.Duration
	for i := range l.Rounds + 1 {
		used, err := processorTime(p.PID())
		if err != nil {
			return l.failed(what, target, err)
		}
		began := time.Now()
		n, err := together(ctx, m, l.encoding.Batch(rows), l.Length)
		if err != nil {
			return l.failed(what, target, err)
		}
		now, err := processorTime(p.PID())
		if err != nil {
			return l.failed(what, target, err)
		}
		if i > 0 { // the first one warms up
			all, each = append(all, micro(now-used)/float64(n)), time.Since(began)/time.Duration(n)
		}
	}
	s := turns.SpreadOf(all)
	l.found(line{Finding: turns.Finding{What: what, Measured: fmt.Sprintf("%v µs; a batch each %s, two under way, %s", s, short(each), m.(*plugins.Model).Transport()), Target: target, Verdict: turns.Judge(s.Median <= 15)},
		Figures: numbers("us", s.Median, "least", s.Least, "most", s.Most)})
	return nil
}

// plugin is the program of the backend: that which is carried, or this one with a driver that pretends.
func (l *lab) plugin() (plugins.Command, error) {
	if !l.pretend {
		program, err := l.program("thrum-backend-cuda")
		return plugins.Command{Path: program}, err
	}
	self, err := os.Executable()
	return plugins.Command{Path: self, Env: append(os.Environ(), pluginKey+"=1")}, err
}

// together predicts a batch again and again, two at a time, for a while, and returns how often.
func together(ctx context.Context, m backends.Model, in backends.Batch, length time.Duration) (int, error) {
	const lanes = 2
	began, counts, errs := time.Now(), make(chan int, lanes), make(chan error, lanes)
	for range lanes {
		go func() {
			n, run := 0, once(ctx, m, in)
			var err error
			for err == nil && (n == 0 || time.Since(began) < length) {
				err = run()
				n++
			}
			counts <- n
			errs <- err
		}()
	}
	n, err := 0, error(nil)
	for range lanes {
		n, err = n+<-counts, errors.Join(err, <-errs)
	}
	return n, err
}
