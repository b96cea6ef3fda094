// Package server is the program behind `thrum serve`: it wires fronts, model repository,
// batching, cache and plugins, and owns the life of the process.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/thrumserve/thrum/plugins"
	"github.com/thrumserve/thrum/server/config"
	"github.com/thrumserve/thrum/server/metrics"
	"github.com/thrumserve/thrum/server/repository"
	"github.com/thrumserve/thrum/server/rest"
)

// Options are what the program brings beside the configuration.
type Options struct {
	Version string                     // of the build
	Plugins map[string]plugins.Command // the program behind each backend that is built in, by its name
	Log     *slog.Logger
}

// Run serves until ctx ends, and then ends in order: not ready, still serving for
// shutdown.delay, no new connections, what is in flight finishes, plugins stop.
func Run(ctx context.Context, cfg config.Server, o Options) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	available := programs{builtin: o.Plugins, path: cfg.Plugins.Path, pins: cfg.Plugins.Pins}
	if err := available.check(); err != nil {
		return err
	}
	m := metrics.New(o.Version)
	l := &loader{programs: available, deadline: time.Duration(cfg.Deadline), maxBody: int64(cfg.Limits.MaxBody), captures: cfg.CaptureDir, metrics: m, log: o.Log}
	repo, err := repository.New(repository.Options{
		Root:         cfg.Models,
		PollInterval: cfg.Poll(),
		Explicit:     cfg.Control == config.ControlExplicit,
		LoadTimeout:  time.Duration(cfg.LoadTimeout),
		Loader:       l.load,
		Select:       selectVersions,
		Log:          o.Log,
	})
	if err != nil {
		return err
	}
	front, err := rest.New(repo, restOptions(cfg, o, m))
	if err != nil {
		return errors.Join(err, repo.Close())
	}
	s := &server{cfg: cfg, log: o.Log, repo: repo, front: front, admin: newAdmin(m), failed: make(chan error, 2)}
	err = s.listen()
	if err == nil {
		err = s.serve(ctx)
	}
	return errors.Join(err, s.shutdown())
}

type server struct {
	cfg    config.Server
	log    *slog.Logger
	repo   *repository.Repository
	front  *rest.Server
	admin  *http.Server
	failed chan error // what ended a listener that should have gone on

	httpAddr, adminAddr net.Addr
}

// listen opens both ports and serves them: liveness and metrics are there while models load.
func (s *server) listen() error {
	web, err := listen("http", s.cfg.HTTP)
	if err != nil {
		return err
	}
	admin, err := listen("admin", s.cfg.Admin)
	if err != nil {
		return errors.Join(err, web.Close())
	}
	s.httpAddr, s.adminAddr = web.Addr(), admin.Addr()
	go func() { s.failed <- s.front.Serve(web) }()
	go func() { s.failed <- s.admin.Serve(admin) }()
	return nil
}

func listen(name, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: choose another with --%s ADDRESS", name, err, name)
	}
	return l, nil
}

// serve loads the repository and returns when ctx ends or a listener fails.
func (s *server) serve(ctx context.Context) error {
	s.log.Info("loading models", "models", s.cfg.Models, "http", s.httpAddr.String(), "admin", s.adminAddr.String())
	if err := s.repo.Start(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	if ctx.Err() == nil {
		s.log.Info("ready", "http", s.httpAddr.String(), "admin", s.adminAddr.String())
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

// shutdown ends serving. It is bounded: what has not finished in time is cut off.
func (s *server) shutdown() error {
	begin := time.Now()
	s.repo.SetNotReady()
	if s.httpAddr == nil {
		return s.repo.Close()
	}
	s.log.Info("shutting down", "delay", s.cfg.Shutdown.Delay.String(), "timeout", s.cfg.Shutdown.Timeout.String())
	time.Sleep(time.Duration(s.cfg.Shutdown.Delay))
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.cfg.Shutdown.Timeout))
	defer cancel()
	err := s.front.Shutdown(ctx)
	closed := make(chan error, 1)
	go func() { closed <- s.repo.Close() }()
	select {
	case closeErr := <-closed:
		err = errors.Join(err, closeErr)
	case <-ctx.Done():
		err = errors.Join(err, errors.New("shutdown.timeout passed before all requests were answered"))
	}
	err = errors.Join(err, s.admin.Close())
	s.log.Info("stopped", "took", time.Since(begin).Round(time.Millisecond), "clean", err == nil)
	return err
}

func selectVersions(modelDir string, present []int64) (wanted, missing []int64, err error) {
	m, err := config.ReadModel(modelDir)
	if err != nil {
		return nil, nil, err
	}
	wanted, missing = m.Versions.Select(present)
	return wanted, missing, nil
}

func restOptions(cfg config.Server, o Options, m *metrics.Metrics) rest.Options {
	return rest.Options{
		Name:           "thrum",
		Version:        o.Version,
		MaxBodyBytes:   int(cfg.Limits.MaxBody),
		MaxConnections: cfg.Limits.MaxConnections,
		ReadTimeout:    time.Duration(cfg.Limits.ReadTimeout),
		WriteTimeout:   time.Duration(cfg.Limits.WriteTimeout),
		IdleTimeout:    time.Duration(cfg.Limits.IdleTimeout),
		Log:            o.Log,
		Observe: func(r rest.Observation) {
			m.ObserveRequest(metrics.Request{
				Model: r.Model, Version: r.Version, Code: r.Status, Rows: r.Rows, Cache: string(r.Cache),
				BatchRows: r.BatchRows, Total: r.Total, Parse: r.Parse, Queue: r.Queue, Compute: r.Compute, Reply: r.Reply,
			})
		},
	}
}
