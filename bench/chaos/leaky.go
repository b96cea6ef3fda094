package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/thrumserve/thrum/plugins"
	thrum "github.com/thrumserve/thrum/server"
	"github.com/thrumserve/thrum/server/config"
)

// serveLeaking starts this program as a server that leaks whenever it has loaded a version.
func (l *lab) serveLeaking(ctx context.Context) (*server, error) {
	root, err := l.repository(cycled)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, exec.Command(self, "-be-leaky-server", root, filepath.Join(l.plugins, "thrum-backend-fault")), l.log)
}

// beLeaking is such a server. It is the real one but for its log.
func beLeaking(ctx context.Context, models, backend string) error {
	cfg := config.Default()
	cfg.Models, cfg.HTTP, cfg.Admin, cfg.Control = models, "127.0.0.1:0", "127.0.0.1:0", config.ControlExplicit
	return thrum.Run(ctx, cfg, thrum.Options{
		Version: "leaky",
		Plugins: map[string]plugins.Command{"fault": {Path: backend}},
		Log:     slog.New(&leak{Handler: slog.NewTextHandler(os.Stderr, nil)}),
	})
}

// leak is a log that keeps memory, a goroutine and a file for every version that gets ready.
type leak struct {
	slog.Handler

	mu    sync.Mutex
	kept  [][]byte
	files []*os.File
}

func (l *leak) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "model version ready" {
		l.drip()
	}
	return l.Handler.Handle(ctx, r)
}

func (l *leak) drip() {
	l.mu.Lock()
	defer l.mu.Unlock()
	page := make([]byte, 256<<10)
	for i := range page {
		page[i] = 1
	}
	l.kept = append(l.kept, page)
	if f, err := os.Open(os.DevNull); err == nil {
		l.files = append(l.files, f)
	}
	go func() { select {} }()
}

func (l *leak) WithAttrs(attrs []slog.Attr) slog.Handler { return child{l.Handler.WithAttrs(attrs), l} }
func (l *leak) WithGroup(name string) slog.Handler       { return child{l.Handler.WithGroup(name), l} }

// child is the log with attributes, which leaks into the same place.
type child struct {
	slog.Handler
	leak *leak
}

func (c child) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "model version ready" {
		c.leak.drip()
	}
	return c.Handler.Handle(ctx, r)
}
