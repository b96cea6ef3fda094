package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
)

// fake is a loader that reads the text of model.onnx: "bad" fails, "slow" takes a minute.
type fake struct {
	mu     sync.Mutex
	loads  []string
	closed []string
	down   map[string]error // why "model/version" cannot answer
}

func (f *fake) load(ctx context.Context, s Source) (*Loaded, error) {
	text, err := os.ReadFile(filepath.Join(s.Dir, "model.onnx"))
	if err != nil {
		return nil, err
	}
	id := s.Model + "/" + s.Version
	switch string(text) {
	case "bad":
		return nil, backends.Errorf(backends.ErrInvalid, "the file is damaged")
	case "slow":
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Minute):
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loads = append(f.loads, id+" "+string(text))
	return &Loaded{
		Live: func(time.Time) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.down[id+" "+string(text)]
		},
		Predictor: backends.PredictorFunc(func(context.Context, backends.Batch) (backends.Batch, error) {
			return backends.Batch{Outputs: []string{string(text)}}, nil
		}),
		Close: func() error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.closed = append(f.closed, id+" "+string(text))
			return nil
		},
	}, nil
}

func latest(_ string, present []int64) (wanted, missing []int64, err error) {
	return present[max(0, len(present)-1):], nil, nil
}

func put(t *testing.T, root, model, version, text string) {
	t.Helper()
	dir := filepath.Join(root, model, version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, root string, change func(*Options)) (*Repository, *fake) {
	t.Helper()
	f := &fake{down: map[string]error{}}
	o := Options{Root: root, PollInterval: time.Second, LoadTimeout: time.Hour, Loader: f.load, Select: latest}
	if change != nil {
		change(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r, f
}

func closeRepository(t *testing.T, r *Repository) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// ask returns what the version answers, or the error's text.
func ask(r *Repository, model, version string) string {
	v, release, err := r.Acquire(model, version)
	if err != nil {
		return err.Error()
	}
	defer release()
	out, err := v.Predictor.Predict(context.Background(), backends.Batch{})
	if err != nil {
		return err.Error()
	}
	return v.Version + ":" + out.Outputs[0]
}

func wantIndex(t *testing.T, r *Repository, want ...string) {
	t.Helper()
	var have []string
	for _, e := range r.Index() {
		have = append(have, strings.Join(strings.Fields(fmt.Sprintln(e.Name, e.Version, e.State, e.Reason)), " "))
	}
	if !slices.Equal(have, want) {
		t.Errorf("Index =\n\t%s\nwant\n\t%s", strings.Join(have, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestStartLoadsTheLatestVersionOfEachModel(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a", "1", "old")
	put(t, root, "a", "2", "new")
	put(t, root, "a", "02", "ignored")
	put(t, root, "a", "notes", "ignored")
	put(t, root, "b", "7", "bad")
	put(t, root, ".hidden", "1", "x")
	r, f := open(t, root, nil)
	defer closeRepository(t, r)
	if got := ask(r, "a", ""); got != "2:new" {
		t.Errorf("ask = %s, want 2:new", got)
	}
	if !slices.Equal(f.loads, []string{"a/2 new"}) {
		t.Errorf("loads = %v", f.loads)
	}
	wantIndex(t, r, "a 2 READY", "b 7 UNAVAILABLE b version 7: the file is damaged")
}

func TestNewRefusesARootThatIsNotThere(t *testing.T) {
	_, err := New(Options{Root: filepath.Join(t.TempDir(), "nowhere")})
	if err == nil || !strings.Contains(err.Error(), "--models") {
		t.Errorf("New = %v, want a hint at --models", err)
	}
}

func TestAcquireSaysWhatIsWrong(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a", "1", "ok")
	put(t, root, "b", "1", "bad")
	r, _ := open(t, root, nil)
	defer closeRepository(t, r)
	for _, c := range []struct {
		model, version string
		kind           error
	}{
		{"nosuch", "", backends.ErrNotFound},
		{"../a", "", backends.ErrNotFound},
		{"a", "2", backends.ErrNotFound},
		{"a", "one", backends.ErrNotFound},
		{"a", "99999999999999999999", backends.ErrNotFound},
		{"b", "", backends.ErrUnavailable},
		{"b", "1", backends.ErrUnavailable},
	} {
		_, _, err := r.Acquire(c.model, c.version)
		if !errors.Is(err, c.kind) {
			t.Errorf("Acquire(%q, %q) = %v, want %v", c.model, c.version, err, c.kind)
		}
	}
}

func TestPollLoadsANewVersionOnceItsFilesHaveSettledAndThenRetiresTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		put(t, root, "a", "1", "one")
		r, f := open(t, root, nil)
		defer closeRepository(t, r)
		held, release, err := r.Acquire("a", "")
		if err != nil {
			t.Fatal(err)
		}

		put(t, root, "a", "2", "two")
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		wantIndex(t, r, "a 1 READY", "a 2 LOADING waiting for its files to settle")
		time.Sleep(time.Second)
		synctest.Wait()
		wantIndex(t, r, "a 1 UNLOADING", "a 2 READY")
		if got := ask(r, "a", ""); got != "2:two" {
			t.Errorf("ask = %s, want 2:two", got)
		}
		if out, _ := held.Predictor.Predict(t.Context(), backends.Batch{}); out.Outputs[0] != "one" || len(f.closed) != 0 {
			t.Errorf("the version held answers %v, closed %v", out.Outputs, f.closed)
		}
		release()
		synctest.Wait()
		wantIndex(t, r, "a 2 READY")
		if !slices.Equal(f.closed, []string{"a/1 one"}) {
			t.Errorf("closed = %v", f.closed)
		}
	})
}

func TestPollKeepsTheOldVersionWhenTheNewOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		put(t, root, "a", "1", "one")
		r, f := open(t, root, nil)
		defer closeRepository(t, r)
		put(t, root, "a", "2", "bad")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantIndex(t, r, "a 1 READY", "a 2 UNAVAILABLE a version 2: the file is damaged")
		if got := ask(r, "a", ""); got != "1:one" {
			t.Errorf("ask = %s, want 1:one", got)
		}

		put(t, root, "a", "1", "bad too")
		put(t, root, "a", "2", "mended")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantIndex(t, r, "a 2 READY")
		if !slices.Equal(f.loads, []string{"a/1 one", "a/2 mended"}) {
			t.Errorf("loads = %v", f.loads)
		}
	})
}

func TestPollReplacesAVersionWhoseFilesChangeAndKeepsItIfThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		put(t, root, "a", "1", "first")
		r, _ := open(t, root, nil)
		defer closeRepository(t, r)
		put(t, root, "a", "1", "second!")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := ask(r, "a", "1"); got != "1:second!" {
			t.Errorf("ask = %s, want 1:second!", got)
		}
		put(t, root, "a", "1", "bad")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantIndex(t, r, "a 1 READY a newer load failed: a version 1: the file is damaged")
		if got := ask(r, "a", "1"); got != "1:second!" {
			t.Errorf("ask = %s, want 1:second!", got)
		}
	})
}

func TestPollUnloadsAModelWhoseFolderIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		put(t, root, "a", "1", "one")
		r, _ := open(t, root, nil)
		defer closeRepository(t, r)
		if err := os.RemoveAll(filepath.Join(root, "a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		wantIndex(t, r)
		if _, _, err := r.Acquire("a", ""); !errors.Is(err, backends.ErrNotFound) {
			t.Errorf("Acquire = %v, want not found", err)
		}
	})
}

func (f *fake) setDown(version string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[version] = err
}

func TestAVersionThatCannotAnswerStaysLoadedAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		put(t, root, "a", "1", "one")
		r, f := open(t, root, nil)
		defer closeRepository(t, r)
		gone := errors.New("no instance lives")
		f.setDown("a/1 one", gone)
		time.Sleep(time.Minute)
		wantIndex(t, r, "a 1 UNAVAILABLE no instance lives")
		v, release, err := r.Acquire("a", "")
		if err != nil {
			t.Fatalf("Acquire = %v, want the version: it may come back in time", err)
		}
		if err := v.Live(time.Now()); err != gone {
			t.Errorf("Live = %v, want %v", err, gone)
		}
		release()
		f.setDown("a/1 one", nil)
		wantIndex(t, r, "a 1 READY")
		if !slices.Equal(f.loads, []string{"a/1 one"}) || len(f.closed) != 0 {
			t.Errorf("loads %v, closed %v, want one load and nothing closed", f.loads, f.closed)
		}
	})
}

func TestALoadThatIsAskedForReplacesAVersionThatCannotAnswer(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a", "1", "one")
	r, f := open(t, root, func(o *Options) { o.Explicit = true })
	defer closeRepository(t, r)
	load := func() {
		t.Helper()
		if err := r.Load(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	load()
	load()
	f.setDown("a/1 one", errors.New("no instance lives"))
	load()
	if !slices.Equal(f.loads, []string{"a/1 one", "a/1 one"}) || !slices.Equal(f.closed, []string{"a/1 one"}) {
		t.Errorf("loads %v, closed %v, want the one that is down replaced", f.loads, f.closed)
	}
}

func TestAVersionStaysWhileTheOneThatIsWantedInsteadCannotAnswer(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a", "1", "one")
	put(t, root, "a", "2", "two")
	wanted := []int64{1, 2}
	r, f := open(t, root, func(o *Options) {
		o.PollInterval = 0
		o.Select = func(string, []int64) ([]int64, []int64, error) { return wanted, nil, nil }
	})
	defer closeRepository(t, r)
	f.setDown("a/2 two", errors.New("no instance lives"))
	wanted = []int64{2}
	r.refresh(true)
	wantIndex(t, r, "a 1 READY", "a 2 UNAVAILABLE no instance lives")
	f.setDown("a/2 two", nil)
	r.refresh(true)
	wantIndex(t, r, "a 2 READY")
}

func TestExplicitControlObeysLoadAndUnload(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a", "1", "one")
	r, f := open(t, root, func(o *Options) { o.Explicit = true })
	defer closeRepository(t, r)
	wantIndex(t, r, "a")
	if _, _, err := r.Acquire("a", ""); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Acquire = %v, want unavailable", err)
	}
	if err := r.Load(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	wantIndex(t, r, "a 1 READY")
	if err := r.Unload(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	wantIndex(t, r, "a UNAVAILABLE unloaded")
	if !slices.Equal(f.closed, []string{"a/1 one"}) {
		t.Errorf("closed = %v", f.closed)
	}
	for _, name := range []string{"nosuch", "..", "a/1", ""} {
		if err := r.Load(t.Context(), name); !errors.Is(err, backends.ErrNotFound) {
			t.Errorf("Load(%q) = %v, want not found", name, err)
		}
	}
	put(t, root, "b", "1", "bad")
	if err := r.Load(t.Context(), "b"); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("Load = %v, want invalid", err)
	}
}

func TestLoadAndUnloadAreRefusedWhenTheServerDecides(t *testing.T) {
	r, _ := open(t, t.TempDir(), nil)
	defer closeRepository(t, r)
	if err := errors.Join(r.Load(t.Context(), "a"), r.Unload(t.Context(), "a")); !errors.Is(err, backends.ErrUnsupported) {
		t.Errorf("Load, Unload = %v, want unsupported", err)
	}
}

func TestALoadThatTakesTooLongIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		put(t, root, "a", "1", "slow")
		r, _ := open(t, root, func(o *Options) { o.LoadTimeout = time.Second })
		defer closeRepository(t, r)
		wantIndex(t, r, "a 1 UNAVAILABLE a version 1: context deadline exceeded")
	})
}

func TestCloseWaitsForHoldersAndClosesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		put(t, root, "a", "1", "one")
		put(t, root, "b", "1", "one")
		r, f := open(t, root, nil)
		_, release, err := r.Acquire("b", "")
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan error)
		go func() { closed <- r.Close() }()
		synctest.Wait()
		if r.Ready() {
			t.Error("Ready = true while closing")
		}
		select {
		case <-closed:
			t.Error("Close returned while a version was held")
		default:
		}
		release()
		if err := <-closed; err != nil || len(f.closed) != 2 {
			t.Errorf("Close = %v, closed %v", err, f.closed)
		}
	})
}

func TestSwapsUnderLoadLoseNoRequest(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a", "1", "one")
	r, _ := open(t, root, func(o *Options) { o.Explicit = true })
	defer closeRepository(t, r)
	if err := r.Load(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := ask(r, "a", ""); !strings.Contains(got, ":v") && got != "1:one" {
					t.Errorf("ask = %s", got)
					return
				}
			}
		})
	}
	for i := range 200 {
		put(t, root, "a", fmt.Sprint(2+i), fmt.Sprintf("v%d", i))
		if err := r.Load(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	clients.Wait()
	wantIndex(t, r, "a 201 READY")
}

func TestDecide(t *testing.T) {
	one, two := fingerprint{1}, fingerprint{2}
	ready := &version{state: catalog.Ready, print: one, seen: one, loaded: &Loaded{}}
	down := &version{state: catalog.Ready, print: one, seen: one, loaded: &Loaded{Live: func(time.Time) error { return backends.ErrUnavailable }}}
	failed := &version{state: catalog.Unavailable, print: one, seen: one}
	changed := &version{state: catalog.Ready, print: one, seen: two, loaded: &Loaded{}}
	for _, c := range []struct {
		situation string
		v         *version
		now       fingerprint
		o         syncOptions
		want      decision
	}{
		{"new at start", nil, one, syncOptions{}, load},
		{"new in a poll", nil, one, syncOptions{settle: true}, wait},
		{"unchanged", ready, one, syncOptions{settle: true}, keep},
		{"unchanged, asked for again", ready, one, syncOptions{retry: true}, keep},
		{"cannot answer", down, one, syncOptions{settle: true}, keep},
		{"cannot answer, asked for again", down, one, syncOptions{retry: true}, load},
		{"changed since the last look", ready, two, syncOptions{settle: true}, wait},
		{"changed and settled", changed, two, syncOptions{settle: true}, load},
		{"failed on these files", failed, one, syncOptions{settle: true}, keep},
		{"failed, asked for again", failed, one, syncOptions{retry: true}, load},
	} {
		if got := decide(c.v, c.now, c.o); got != c.want {
			t.Errorf("%s: decide = %v, want %v", c.situation, got, c.want)
		}
	}
}

func TestStartGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		put(t, root, "a", "1", "slow")
		f := &fake{down: map[string]error{}}
		r, err := New(Options{Root: root, LoadTimeout: time.Hour, Loader: f.load, Select: latest})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Start(ctx); !errors.Is(err, context.DeadlineExceeded) || r.Ready() {
			t.Errorf("Start = %v, ready %v, want a missed deadline and not ready", err, r.Ready())
		}
		closeRepository(t, r)
	})
}
