package server

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/config"
	"github.com/thrumserve/thrum/server/repository"
)

// OpenModel loads one version of the model in dir as `thrum serve` would, proven by its golden set,
// and returns it without anything before it: no front, no cache, no batcher. An empty version is
// the highest that there is. cfg says where backends are and how large a request may be.
func OpenModel(ctx context.Context, dir, version string, cfg config.Server, o Options) (backends.Model, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if version == "" {
		if version, err = highest(dir); err != nil {
			return nil, err
		}
	}
	model, err := config.ReadModel(dir)
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "%w", err)
	}
	available := programs{builtin: o.Plugins, path: cfg.Plugins.Path, pins: cfg.Plugins.Pins}
	program, err := available.find(model.Backend)
	if err != nil {
		return nil, err
	}
	source := repository.Source{Model: filepath.Base(dir), Version: version, ModelDir: dir, Dir: filepath.Join(dir, version)}
	digest, err := digestOf(ctx, source.Dir, model)
	if err != nil {
		return nil, err
	}
	l := &loader{programs: available, deadline: time.Duration(cfg.Deadline), maxBody: int64(cfg.Limits.MaxBody), log: o.Log}
	m, _, err := l.open(ctx, source, model, program, digest)
	if err != nil {
		return nil, available.explain(model.Backend, err)
	}
	return m, nil
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
