package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/batching"
	"github.com/thrumserve/thrum/cache"
	"github.com/thrumserve/thrum/plugins"
	"github.com/thrumserve/thrum/plugins/host"
	"github.com/thrumserve/thrum/server/capture"
	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/config"
	"github.com/thrumserve/thrum/server/golden"
	"github.com/thrumserve/thrum/server/metrics"
	"github.com/thrumserve/thrum/server/quarantine"
	"github.com/thrumserve/thrum/server/repository"
)

// loader loads versions: it starts the plugin processes of each and wires the path of its
// requests.
type loader struct {
	programs programs
	deadline time.Duration // of a model that sets none
	maxBody  int64         // of a request
	captures string        // the folder for captures; empty if there may be none
	metrics  *metrics.Metrics
	log      *slog.Logger
}

func (l *loader) load(ctx context.Context, s repository.Source) (*repository.Loaded, error) {
	begin := time.Now()
	loaded, err := l.tryLoad(ctx, s)
	l.metrics.ObserveLoad(s.Model, time.Since(begin), err)
	return loaded, err
}

func (l *loader) tryLoad(ctx context.Context, s repository.Source) (_ *repository.Loaded, err error) {
	cfg, err := config.ReadModel(s.ModelDir)
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "%w", err)
	}
	program, err := l.programs.find(cfg.Backend)
	if err != nil {
		return nil, err
	}
	digest, err := digestOf(ctx, s.Dir, cfg)
	if err != nil {
		return nil, err
	}
	p := &path{Source: s, cfg: cfg, digest: digest}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.opened.close())
		}
	}()
	p.model, p.accuracy, err = l.open(ctx, s, cfg, program, digest)
	if err != nil {
		return nil, l.programs.explain(cfg.Backend, err)
	}
	p.opened.add(p.model.Close)
	return l.wire(p)
}

// path is what a version's requests pass, and what it is made of.
type path struct {
	repository.Source
	cfg    config.Model
	digest string
	model  *host.Model
	opened closers

	accuracy *catalog.Accuracy // nil where there is no golden set
}

func (p *path) serving() catalog.Serving {
	cfg, sig := p.cfg, p.model.Signature()
	s := catalog.Serving{Backend: cfg.Backend, Instances: max(cfg.Instances, 1), Cached: cfg.Cache != nil, Accuracy: p.accuracy}
	if sig.Batched {
		s.MaxRows = cfg.Bounds().MaxRows
	}
	return s
}

// open starts the instances of a version. Each of them proves itself before it takes traffic, at
// first and whenever it is started again; the accuracy is that of the one that did first.
func (l *loader) open(ctx context.Context, s repository.Source, cfg config.Model, program program, digest string) (*host.Model, *catalog.Accuracy, error) {
	log := l.log.With("model", s.Model, "version", s.Version)
	plugin := program.options
	plugin.Log, plugin.Limits = log, pluginLimits(cfg.Limits)
	var first atomic.Pointer[catalog.Accuracy]
	m, err := host.Open(ctx, host.Options{
		Command:   program.command,
		Plugin:    plugin,
		Spec:      backends.Spec{Model: s.Model, Version: s.Version, Dir: s.Dir, Options: cfg.Options, MaxRows: cfg.Bounds().MaxRows},
		Instances: cfg.Instances,
		Prove: func(ctx context.Context, model backends.Model) error {
			if now, err := digestOf(ctx, s.Dir, cfg); err != nil || now != digest {
				return backends.Errorf(backends.ErrInvalid, "%s is not what it was when the version was loaded: load it again, or give changed files a new version", s.Dir)
			}
			accuracy, err := l.warmUp(ctx, s.Dir, cfg, model)
			if err == nil {
				first.CompareAndSwap(nil, accuracy)
			}
			return err
		},
		Patience: l.deadlineOf(cfg) / 2,
		Log:      log,
	})
	if err != nil {
		return nil, nil, err
	}
	logAccuracy(log, m.Signature().Precision, first.Load())
	return m, first.Load(), nil
}

// mostLogged is how many outputs' accuracy is logged; the model's metadata has all.
const mostLogged = 8

func logAccuracy(log *slog.Logger, precision string, a *catalog.Accuracy) {
	switch {
	case a == nil && !golden.LimitsAt(precision).Elementwise:
		log.Warn("answers are not measured at this precision: there is no golden set", "precision", precision)
		return
	case a == nil:
		return
	}
	attrs := []any{"precision", precision, "reference", a.Reference, "cases", a.Cases}
	for _, o := range a.Outputs[:min(len(a.Outputs), mostLogged)] {
		var figures []any
		for _, f := range o.Figures {
			figures = append(figures, slog.Float64(f.Kind, f.Value))
		}
		attrs = append(attrs, slog.Group(o.Name, figures...))
	}
	log.Info("answers measured on the golden set", attrs...)
}

func pluginLimits(l config.PluginLimits) plugins.Limits {
	return plugins.Limits{MemoryBytes: int64(l.Memory), Threads: l.Threads, Nice: l.Nice, CPUs: l.CPUs}
}

func (l *loader) deadlineOf(cfg config.Model) time.Duration {
	return time.Duration(cmp.Or(cfg.Deadline, config.Duration(l.deadline)))
}

// wire builds the path of a version's requests. It is the architecture in a few lines:
//
//	front -> capture -> cache -> quarantine -> batcher -> host -> plugin client ==process boundary== plugin server -> model
func (l *loader) wire(p *path) (*repository.Loaded, error) {
	cfg, model := p.cfg, p.model
	if cfg.Batching.MaxRows != 0 && !model.Signature().Batched {
		return nil, backends.Errorf(backends.ErrInvalid, "model.yaml: batching.max_rows does nothing: the first dimension of this model's tensors is not a batch; leave it out")
	}
	var observed *metrics.Version
	bounds := cfg.Bounds()
	batcher, err := batching.New(model, model.Signature(), batching.Options{
		MaxRows: bounds.MaxRows, MaxQueueRows: bounds.MaxQueueRows, Inflight: bounds.Inflight, Instances: max(cfg.Instances, 1),
		OnBatch: func(b batching.BatchInfo) { observed.ObserveBatch(b.Rows, b.Compute) },
	})
	if err != nil {
		return nil, err
	}
	p.opened.add(batcher.Close)
	ward := quarantine.New(batcher, quarantine.Options{OnGuilty: model.Excuse})
	var chain backends.Predictor = ward
	var store *cache.Cache
	if cfg.Cache != nil {
		store, err = cache.New(cache.Options{MaxBytes: int64(cfg.Cache.MaxBytes), TTL: time.Duration(cfg.Cache.TTL)})
		if err != nil {
			return nil, err
		}
		p.opened.add(func() error { store.Close(); return nil })
		chain = store.Wrap(p.digest, chain)
	}
	var recorder *capture.Recorder
	if cfg.Capture != nil {
		recorder, err = l.recorder(p.Source, cfg, model.Signature())
		if err != nil {
			return nil, err
		}
		p.opened.add(recorder.Close)
		chain = recorder.Wrap(chain)
	}
	observed = l.metrics.AddVersion(p.Model, p.Version, func() metrics.Sample {
		s := withCapture(sample(cfg, model, batcher, ward, store), recorder)
		s.Precision, s.Accuracy = model.Signature().Precision, p.accuracy
		return s
	}, devices(model))
	p.opened.add(func() error { observed.Remove(); return nil })
	return &repository.Loaded{
		Signature:  model.Signature(),
		Predictor:  chain,
		Deadline:   l.deadlineOf(cfg),
		Serving:    p.serving(),
		Statistics: observed.Statistics,
		Live:       func(since time.Time) error { return model.Live(batcher.WaitingSince(since)) },
		Close:      p.opened.close,
	}, nil
}

func (l *loader) recorder(s repository.Source, cfg config.Model, sig backends.Signature) (*capture.Recorder, error) {
	folder, err := cfg.Capture.Folder(l.captures, s.Model)
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "model.yaml: %w", err)
	}
	return capture.New(sig, capture.Options{
		Folder: folder, Model: s.Model, Version: s.Version, Rate: cfg.Capture.Rate,
		MaxBytes: int64(cfg.Capture.MaxBytes), Mask: cfg.Capture.Mask, Log: l.log,
	})
}

func withCapture(s metrics.Sample, recorder *capture.Recorder) metrics.Sample {
	if recorder != nil {
		c := recorder.Stats()
		s.HasCapture = true
		s.CaptureWritten, s.CaptureDropped, s.CaptureFailed, s.CaptureSkipped = c.Written, c.Dropped, c.Failed, c.Skipped
	}
	return s
}

func sample(cfg config.Model, model *host.Model, batcher *batching.Batcher, ward *quarantine.Quarantine, store *cache.Cache) metrics.Sample {
	h, b := model.Stats(), batcher.Stats()
	s := metrics.Sample{
		InstancesWanted: h.Wanted, InstancesLive: h.Live, Restarts: h.Restarts, Hangs: h.Hangs, DeviceFailures: h.DeviceFailures, Transport: h.Transport, SharedBytes: h.SharedBytes, HugeBytes: model.HugeBytes(),
		QueuedRows: b.QueuedRows, MaxQueueRows: cfg.Bounds().MaxQueueRows, InflightBatches: b.Inflight,
		Rejected: b.Rejected, Expired: b.Expired, QuarantineRefused: ward.Refused(),
	}
	if store != nil {
		c := store.Stats()
		s.HasCache = true
		s.CacheBytes, s.CacheMaxBytes, s.CacheEntries = c.Bytes, int64(cfg.Cache.MaxBytes), c.Entries
		s.CacheEvicted, s.CacheNotKept = c.Evicted, c.Dropped+c.Rejected+c.TooLarge
	}
	return s
}

// devices returns what reads the devices of a model, nil where there are none.
func devices(model *host.Model) func() []metrics.Device {
	if !model.Metered() {
		return nil
	}
	return func() []metrics.Device {
		var all []metrics.Device
		for _, d := range model.Devices(context.Background()) {
			figures := make(map[string]float64, len(d.Figures))
			for kind, value := range d.Figures {
				figures[string(kind)] = value
			}
			all = append(all, metrics.Device{ID: d.ID, Name: d.Name, Driver: d.Driver, Number: d.Number, Held: d.Held + d.Shared, Taken: d.Taken, Figures: figures, Read: d.Read})
		}
		return all
	}
}

// closers are closed in the opposite order of their opening.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c *closers) close() error {
	var errs []error
	for _, f := range slices.Backward(*c) {
		errs = append(errs, f())
	}
	*c = nil
	return errors.Join(errs...)
}
