package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
)

// model is a folder of the repository and what is loaded of it.
type model struct {
	repository *Repository
	name       string
	dir        string

	changing sync.Mutex // held while versions are started and stopped

	// Guarded by repository.mu; written only with changing held too.
	versions map[int64]*version
	reason   string // why nothing could be decided for this model: its configuration, its folder
	latest   *version
	gone     bool // unloaded on purpose
}

// version is one version in one of the states. A new load of the same number is a new one.
type version struct {
	number int64
	print  fingerprint
	seen   fingerprint // of the last look, to tell whether files have settled

	state  catalog.State
	reason string

	// Set when it became ready.
	entry   *catalog.Version
	loaded  *Loaded
	uses    sync.WaitGroup // its holders; only a ready version gains one
	release func()
}

type syncOptions struct {
	settle bool // load only what looked the same before
	retry  bool // load again what failed before on the same files, or cannot answer
	unload bool // want nothing
}

// sync brings what is loaded in line with the folder. Versions that are not wanted any more
// stop only if all that are wanted serve, so that a failing load never leaves a gap. It
// returns what failed.
func (m *model) sync(ctx context.Context, o syncOptions) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	wanted, err := m.wanted(o)
	m.setReason(err)
	if err != nil {
		return err
	}
	var errs []error
	complete := true
	for _, number := range wanted {
		serves, err := m.ensure(ctx, number, o)
		complete = complete && serves
		errs = append(errs, err)
	}
	if complete {
		m.retireAllBut(wanted)
	}
	return errors.Join(errs...)
}

// wanted returns the versions that should serve. A folder that is gone wants none.
func (m *model) wanted(o syncOptions) ([]int64, error) {
	if o.unload {
		return nil, nil
	}
	present, err := listVersions(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, backends.Errorf(backends.ErrUnavailable, "%s: %w", m.name, err)
	}
	wanted, missing, err := m.repository.options.Select(m.dir, present)
	switch {
	case err != nil:
		return nil, backends.Errorf(backends.ErrInvalid, "%s: %w", m.name, err)
	case len(missing) > 0:
		return nil, backends.Errorf(backends.ErrInvalid, "%s: versions %v are asked for in model.yaml but are not in the folder", m.name, missing)
	case len(wanted) == 0:
		return nil, backends.Errorf(backends.ErrInvalid, "%s: no version: put the model at %s", m.name, filepath.Join(m.dir, "1", "model.onnx"))
	}
	return wanted, nil
}

// ensure makes the version serve if its files say that it should be loaded now, and reports
// whether it serves.
func (m *model) ensure(ctx context.Context, number int64, o syncOptions) (serves bool, err error) {
	current := m.version(number)
	print, err := takeFingerprint(m.dir, number)
	if err != nil {
		return false, m.fail(number, print, current, err)
	}
	switch decide(current, print, o) {
	case keep:
		return current.serves(), nil
	case wait:
		m.note(number, print)
		return false, nil
	}
	return m.load(ctx, number, print)
}

// serves reports whether v is ready and can answer now.
func (v *version) serves() bool { return v.state == catalog.Ready && v.loaded.live(time.Now()) == nil }

type decision int

const (
	keep decision = iota // as it is
	wait                 // look again before deciding
	load
)

// decide says what to do with a version, given what is known of it (nil if nothing) and what
// its files look like now.
func decide(v *version, now fingerprint, o syncOptions) decision {
	switch {
	case v == nil:
		if o.settle {
			return wait
		}
		return load
	case v.print == now && v.state == catalog.Ready && (v.serves() || !o.retry):
		return keep
	case v.print == now && v.state == catalog.Unavailable && !o.retry:
		return keep
	case o.settle && v.seen != now:
		return wait
	}
	return load
}

// note remembers what the files looked like. A version never seen before gets a place in the
// index, so that an operator sees that it was noticed.
func (m *model) note(number int64, now fingerprint) {
	m.repository.mu.Lock()
	defer m.repository.mu.Unlock()
	v := m.versions[number]
	if v == nil {
		v = &version{number: number, state: catalog.Loading, reason: "waiting for its files to settle"}
		m.versions[number] = v
	}
	v.seen = now
}

func (m *model) version(number int64) *version {
	m.repository.mu.RLock()
	defer m.repository.mu.RUnlock()
	return m.versions[number]
}

// load starts the version beside the one that serves and, if that works, lets it take over.
func (m *model) load(ctx context.Context, number int64, print fingerprint) (bool, error) {
	log := m.repository.options.Log.With("model", m.name, "version", number)
	old := m.version(number)
	if old == nil || old.state != catalog.Ready {
		m.publish(&version{number: number, print: print, seen: print, state: catalog.Loading})
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, m.repository.options.LoadTimeout)
	defer cancel()
	defer context.AfterFunc(m.repository.ctx, cancel)()
	text := strconv.FormatInt(number, 10)
	loaded, err := m.repository.options.Loader(ctx, Source{
		Model: m.name, Version: text, ModelDir: m.dir, Dir: filepath.Join(m.dir, text),
	})
	if err != nil {
		serves := old != nil && old.state == catalog.Ready
		log.Error("model version failed to load", "error", err, "old_one_serves", serves)
		return serves, m.fail(number, print, old, err)
	}
	v := &version{number: number, print: print, seen: print, state: catalog.Ready, loaded: loaded}
	v.release = v.uses.Done
	m.publish(v)
	log.Info("model version ready", "took", time.Since(begin).Round(time.Millisecond))
	if old != nil && old.state == catalog.Ready {
		m.retire(old)
	}
	return true, nil
}

// fail records why a version could not be loaded. One that serves goes on serving.
func (m *model) fail(number int64, print fingerprint, old *version, err error) error {
	err = fmt.Errorf("%s version %d: %w", m.name, number, err)
	m.repository.mu.Lock()
	defer m.repository.mu.Unlock()
	if old != nil && old.state == catalog.Ready {
		old.print, old.reason = print, "a newer load failed: "+err.Error()
		return err
	}
	m.versions[number] = &version{number: number, print: print, seen: print, state: catalog.Unavailable, reason: err.Error()}
	m.relist()
	return err
}

// publish puts v into the table in place of the version of its number.
func (m *model) publish(v *version) {
	m.repository.mu.Lock()
	defer m.repository.mu.Unlock()
	m.versions[v.number] = v
	m.gone = false
	m.relist()
}

// relist rebuilds what depends on which versions are ready. repository.mu is held.
func (m *model) relist() {
	m.latest = nil
	var ready []int64
	for number, v := range m.versions {
		if v.state == catalog.Ready {
			ready = append(ready, number)
			if m.latest == nil || number > m.latest.number {
				m.latest = v
			}
		}
	}
	slices.Sort(ready)
	texts := make([]string, len(ready))
	for i, number := range ready {
		texts[i] = strconv.FormatInt(number, 10)
	}
	for _, number := range ready {
		v := m.versions[number]
		v.entry = &catalog.Version{
			Model: m.name, Version: strconv.FormatInt(number, 10), Versions: texts,
			Signature: v.loaded.Signature, Predictor: v.loaded.Predictor, Deadline: v.loaded.Deadline,
			Serving: v.loaded.Serving, Statistics: v.loaded.Statistics, Live: v.loaded.live,
		}
	}
}

// retireAllBut stops every version that is not wanted and waits for it.
func (m *model) retireAllBut(wanted []int64) {
	var stopping []*version
	m.repository.mu.Lock()
	for number, v := range m.versions {
		switch {
		case slices.Contains(wanted, number):
		case v.state == catalog.Ready:
			v.state, v.reason = catalog.Unloading, ""
			stopping = append(stopping, v)
		default:
			delete(m.versions, number)
		}
	}
	m.gone = len(wanted) == 0
	m.relist()
	m.repository.mu.Unlock()
	for _, v := range stopping {
		m.retire(v)
		m.forget(v)
	}
}

// retire waits until nobody holds v any more and closes it.
func (m *model) retire(v *version) {
	v.uses.Wait()
	if err := v.loaded.Close(); err != nil {
		m.repository.options.Log.Warn("model version did not close cleanly", "model", m.name, "version", v.number, "error", err)
	}
	m.repository.options.Log.Info("model version unloaded", "model", m.name, "version", v.number)
}

func (m *model) forget(v *version) {
	m.repository.mu.Lock()
	defer m.repository.mu.Unlock()
	if m.versions[v.number] == v {
		delete(m.versions, v.number)
	}
}

// find returns the ready version of that number, or the latest for the empty string.
// repository.mu is held.
func (m *model) find(number string) (*version, error) {
	if number == "" && m.latest != nil {
		return m.latest, nil
	}
	if number == "" {
		return nil, backends.Errorf(backends.ErrUnavailable, "model %q has no version that is ready: %s", m.name, m.why())
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return nil, backends.Errorf(backends.ErrNotFound, "model %q has no version %q: versions are positive integers", m.name, number)
	}
	v, ok := m.versions[n]
	switch {
	case !ok:
		return nil, backends.Errorf(backends.ErrNotFound, "model %q has no version %d that is served: GET /v2/models/%s lists them", m.name, n, m.name)
	case v.state != catalog.Ready:
		return nil, backends.Errorf(backends.ErrUnavailable, "model %q version %d is %s: %s", m.name, n, v.state, v.reason)
	}
	return v, nil
}

// why says, for people, why no version is ready. repository.mu is held.
func (m *model) why() string {
	if m.reason != "" {
		return m.reason
	}
	var parts []string
	for _, e := range m.index() {
		parts = append(parts, strings.TrimSuffix(fmt.Sprintf("version %s is %s: %s", e.Version, e.State, e.Reason), ": "))
	}
	return strings.Join(parts, "; ")
}

// index returns the model's lines. repository.mu is held.
func (m *model) index() []catalog.Entry {
	var lines []catalog.Entry
	for _, v := range m.versions {
		lines = append(lines, v.line(m.name))
	}
	slices.SortFunc(lines, func(a, b catalog.Entry) int {
		return len(a.Version) - len(b.Version) + strings.Compare(a.Version, b.Version)
	})
	switch {
	case m.reason != "":
		lines = append(lines, catalog.Entry{Name: m.name, State: catalog.Unavailable, Reason: m.reason})
	case len(lines) == 0 && m.gone:
		lines = append(lines, catalog.Entry{Name: m.name, State: catalog.Unavailable, Reason: "unloaded"})
	case len(lines) == 0:
		lines = append(lines, catalog.Entry{Name: m.name})
	}
	return lines
}

// line returns v's line. A version that cannot answer is not ready, though it stays loaded and
// may be so again by itself.
func (v *version) line(model string) catalog.Entry {
	e := catalog.Entry{Name: model, Version: strconv.FormatInt(v.number, 10), State: v.state, Reason: v.reason}
	if v.state == catalog.Ready {
		if err := v.loaded.live(time.Now()); err != nil {
			e.State, e.Reason = catalog.Unavailable, err.Error()
		}
	}
	return e
}

func (m *model) setReason(err error) {
	m.repository.mu.Lock()
	defer m.repository.mu.Unlock()
	was := m.reason
	m.reason = ""
	if err != nil {
		m.reason = err.Error()
	}
	if m.reason != "" && m.reason != was {
		m.repository.options.Log.Error("model cannot be served as it is", "model", m.name, "error", err)
	}
}
