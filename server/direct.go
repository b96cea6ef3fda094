package server

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/host"
	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/config"
	"github.com/thrumserve/thrum/server/repository"
)

// OpenModel loads one version of the model in dir as `thrum serve` would, proven by its golden set,
// and returns it without anything before it: no front, no cache, no batcher. An empty version is
// the highest that there is. cfg says where backends are and how large a request may be.
func OpenModel(ctx context.Context, dir, version string, cfg config.Server, o Options) (backends.Model, error) {
	source, model, err := sourceOf(dir, version)
	if err != nil {
		return nil, err
	}
	m, _, err := openAlone(ctx, source, model, cfg, o)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Measured is what a version said of itself and how near it was to its golden set.
type Measured struct {
	Precision string
	Accuracy  *catalog.Accuracy // nil without a golden set
}

// Measure loads the highest version of the model in dir as OpenModel does, with these options of
// its backend before its own, measures it and closes it again. One that `thrum serve` would refuse
// is an error.
func Measure(ctx context.Context, dir string, options map[string]string, cfg config.Server, o Options) (Measured, error) {
	source, model, err := sourceOf(dir, "")
	if err != nil {
		return Measured{}, err
	}
	all := maps.Clone(options)
	for key, value := range model.Options {
		if _, ok := all[key]; !ok {
			all[key] = value
		}
	}
	model.Options = all
	m, accuracy, err := openAlone(ctx, source, model, cfg, o)
	if err != nil {
		return Measured{}, err
	}
	return Measured{m.Signature().Precision, accuracy}, m.Close()
}

// sourceOf returns a version of the model in dir, the highest if it is empty, and its model.yaml.
func sourceOf(dir, version string) (repository.Source, config.Model, error) {
	dir, err := filepath.Abs(dir)
	if err == nil && version == "" {
		version, err = highest(dir)
	}
	if err != nil {
		return repository.Source{}, config.Model{}, err
	}
	model, err := config.ReadModel(dir)
	if err != nil {
		return repository.Source{}, config.Model{}, backends.Errorf(backends.ErrInvalid, "%w", err)
	}
	return repository.Source{Model: filepath.Base(dir), Version: version, ModelDir: dir, Dir: filepath.Join(dir, version)}, model, nil
}

func openAlone(ctx context.Context, s repository.Source, model config.Model, cfg config.Server, o Options) (*host.Model, *catalog.Accuracy, error) {
	available := programs{builtin: o.Plugins, path: cfg.Plugins.Path, pins: cfg.Plugins.Pins}
	program, err := available.find(model.Backend)
	if err != nil {
		return nil, nil, err
	}
	digest, err := digestOf(ctx, s.Dir, model)
	if err != nil {
		return nil, nil, err
	}
	l := &loader{programs: available, deadline: time.Duration(cfg.Deadline), maxBody: int64(cfg.Limits.MaxBody), log: o.Log}
	m, accuracy, err := l.open(ctx, s, model, program, digest)
	if err != nil {
		return nil, nil, available.explain(model.Backend, err)
	}
	return m, accuracy, nil
}

// highest returns the highest version in a model's folder.
func highest(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	numbers := []int{0}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	n := slices.MaxFunc(numbers, cmp.Compare[int])
	if n == 0 {
		return "", errors.New(dir + " holds no version: name the folder of a model, with folders 1, 2, ... in it")
	}
	return strconv.Itoa(n), nil
}
