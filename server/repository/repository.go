// Package repository keeps the versions of a model repository loaded. It watches the folder
// or obeys load and unload, decides what to start and stop, and hands out versions that stay
// loaded for as long as somebody holds them. How a version is loaded it is told by a Loader.
//
// One goroutine at a time changes a model (its mutex says so); requests only read the table
// of serving versions. A version is replaced in this order: the new one is loaded and warmed,
// the table changes, the old one drains, the old one is closed.
package repository

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
)

// Source is a version to load.
type Source struct {
	Model    string
	Version  string
	ModelDir string // holds model.yaml
	Dir      string // the version's folder
}

// Loaded is a version that is warm and may take traffic.
type Loaded struct {
	Signature backends.Signature
	Predictor backends.Predictor
	Deadline  time.Duration
	Serving   catalog.Serving

	Statistics func() catalog.Statistics
	Live       func(since time.Time) error // whether it could answer since then, or why not; nil if it always can
	Close      func() error                // finishes what is under way, then frees everything
}

func (l *Loaded) live(since time.Time) error {
	if l.Live == nil {
		return nil
	}
	return l.Live(since)
}

// Options say where the repository is and how it is kept. All fields but PollInterval and
// Log are required.
type Options struct {
	Root         string
	PollInterval time.Duration // how often to look for changes; 0 for never
	Explicit     bool          // load nothing by itself, obey Load and Unload
	LoadTimeout  time.Duration // for one version

	// Loader loads one version and returns when it is warm.
	Loader func(ctx context.Context, s Source) (*Loaded, error)
	// Select says which of the versions present a model wants to serve, from its folder.
	Select func(modelDir string, present []int64) (wanted, missing []int64, err error)
	Log    *slog.Logger
}

// Repository implements catalog.Catalog.
type Repository struct {
	options Options
	ctx     context.Context // ends when the repository closes
	stop    context.CancelFunc
	done    sync.WaitGroup // the poll loop

	ready atomic.Bool

	mu     sync.RWMutex // guards models and everything that the fields of model say it guards
	models map[string]*model
}

// New returns a repository that has not been looked at yet. A root that cannot be read is an
// error. Close must be called.
func New(o Options) (*Repository, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if _, err := listModels(o.Root); err != nil {
		return nil, fmt.Errorf("model repository: %w: make it, or name another with --models", err)
	}
	r := &Repository{options: o, models: map[string]*model{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Start loads what the repository holds, and returns when every version has been tried and
// the repository is ready; one that fails is in the index and does not stop the others. It
// gives up when ctx ends. Watching for changes goes on until Close.
func (r *Repository) Start(ctx context.Context) error {
	if !r.options.Explicit {
		defer context.AfterFunc(ctx, r.stop)()
		r.refresh(false)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	r.ready.Store(true)
	if !r.options.Explicit && r.options.PollInterval > 0 {
		r.done.Go(r.poll)
	}
	return nil
}

// poll looks for changes until the repository closes.
func (r *Repository) poll() {
	tick := time.NewTicker(r.options.PollInterval)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
			r.refresh(true)
		}
	}
}

// refresh brings every model in line with the folder, several at a time. Settle asks that a
// version's files be the same in two looks before it is loaded, so that one half copied is
// left alone.
func (r *Repository) refresh(settle bool) {
	names, err := listModels(r.options.Root)
	if err != nil {
		r.options.Log.Error("model repository cannot be read, serving goes on", "error", err)
		return
	}
	var wait sync.WaitGroup
	slots := make(chan struct{}, loadsAtOnce)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(append(names, r.loadedNames()...)))) {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			// What goes wrong stands in the index and in the log; the next look tries again.
			_ = r.model(name).sync(r.ctx, syncOptions{settle: settle})
			r.dropIfGone(name)
		})
	}
	wait.Wait()
}

const loadsAtOnce = 4

// model returns the model of that name, making room for it if need be.
func (r *Repository) model(name string) *model {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.models[name]
	if !ok {
		m = &model{repository: r, name: name, dir: filepath.Join(r.options.Root, name), versions: map[int64]*version{}}
		r.models[name] = m
	}
	return m
}

// dropIfGone forgets a model whose folder was removed, once nothing of it serves.
func (r *Repository) dropIfGone(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.models[name]; len(m.versions) == 0 && !r.exists(name) {
		delete(r.models, name)
	}
}

func (r *Repository) loadedNames() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Keys(r.models))
}

// Ready reports whether the first look at the repository is over and the server is not
// going down.
func (r *Repository) Ready() bool { return r.ready.Load() }

// SetNotReady ends readiness for good; serving goes on until Close.
func (r *Repository) SetNotReady() { r.ready.Store(false) }

// Acquire implements catalog.Catalog.
func (r *Repository) Acquire(name, number string) (*catalog.Version, func(), error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m, ok := r.models[name]
	if !ok || len(m.versions) == 0 && m.reason == "" {
		if !ok && !r.exists(name) {
			return nil, nil, backends.Errorf(backends.ErrNotFound, "unknown model %q: POST /v2/repository/index lists the models there are", name)
		}
		return nil, nil, backends.Errorf(backends.ErrUnavailable, "model %q is not loaded: POST /v2/repository/models/%s/load loads it", name, name)
	}
	v, err := m.find(number)
	if err != nil {
		return nil, nil, err
	}
	v.uses.Add(1)
	return v.entry, v.release, nil
}

// exists reports whether the repository holds a folder of that name, without following names
// that lead out of it.
func (r *Repository) exists(name string) bool {
	if name != filepath.Base(name) || name == "." || name == ".." {
		return false
	}
	info, err := os.Stat(filepath.Join(r.options.Root, name))
	return err == nil && info.IsDir()
}

// Index implements catalog.Catalog.
func (r *Repository) Index() []catalog.Entry {
	present, _ := listModels(r.options.Root)
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := slices.AppendSeq(present, maps.Keys(r.models))
	var index []catalog.Entry
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		m, ok := r.models[name]
		if !ok {
			index = append(index, catalog.Entry{Name: name})
			continue
		}
		index = append(index, m.index()...)
	}
	return index
}

// Load implements catalog.Catalog.
func (r *Repository) Load(ctx context.Context, name string) error {
	if !r.options.Explicit {
		return backends.Errorf(backends.ErrUnsupported, "load: this server loads models by itself; start it with --control explicit to decide yourself")
	}
	if !r.exists(name) {
		return backends.Errorf(backends.ErrNotFound, "load %s: no such folder in the model repository", strconv.Quote(name))
	}
	return r.model(name).sync(ctx, syncOptions{retry: true})
}

// Unload implements catalog.Catalog.
func (r *Repository) Unload(ctx context.Context, name string) error {
	if !r.options.Explicit {
		return backends.Errorf(backends.ErrUnsupported, "unload: this server loads models by itself; start it with --control explicit to decide yourself")
	}
	r.mu.RLock()
	m, ok := r.models[name]
	r.mu.RUnlock()
	if !ok {
		return backends.Errorf(backends.ErrNotFound, "unload %s: not loaded", strconv.Quote(name))
	}
	return m.sync(ctx, syncOptions{unload: true})
}

// Close stops watching, drains every version and returns when all are closed. Nothing may be
// acquired after.
func (r *Repository) Close() error {
	r.SetNotReady()
	r.stop()
	var errs []error
	for _, name := range r.loadedNames() {
		errs = append(errs, r.model(name).sync(context.Background(), syncOptions{unload: true}))
	}
	r.done.Wait()
	return errors.Join(errs...)
}
