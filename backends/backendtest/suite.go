// Package backendtest is the suite that every backend passes, called directly and through a
// plugin's process: fake, CPU and GPU alike. A new backend is right when Run passes with a
// model of its own.
package backendtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// Fixture is a model to test a backend with.
type Fixture struct {
	// Spec is loaded. An empty Dir means that the backend needs no files.
	Spec backends.Spec

	// Input returns a batch of that many rows, row i the same whatever their number. Nil for
	// Example of the model's signature.
	Input func(rows int) backends.Batch

	// Tolerance is how far a floating-point answer may be from itself when the same row is
	// computed in another batch, absolute and relative to its size.
	Tolerance float64
}

// quick bounds what must not wait for anything. It is generous: it tells a wait from work.
const quick = 5 * time.Second

// largeBytes is more than the message limit that gRPC has by default, and than most buffers.
const largeBytes = 5<<20 + 1

// Run tests the backend that open returns, a fresh one for each test. The backend is closed
// by Run, perhaps twice.
func Run(t *testing.T, open func(t *testing.T) backends.Backend, fixture Fixture) {
	tests := []struct {
		name string
		test func(t *testing.T, c *contender)
	}{
		{"info names the backend", testInfo},
		{"signature is well formed", testSignature},
		{"answers have the promised shapes", testShapes},
		{"row i answers row i", testRows},
		{"outputs are those asked for", testOutputs},
		{"no rows give no rows", testZeroRows},
		{"joined parts are a batch", testJoined},
		{"an answer stays until it is released", testAnswersStay},
		{"many answers can be held", testManyHeld},
		{"a large batch is answered", testLarge},
		{"concurrent calls do not mix", testConcurrent},
		{"an ended context ends the call", testEndedContext},
		{"the input is left alone", testInputUnchanged},
		{"bad input is the caller's fault", testBadInput},
		{"a missing folder is refused", testMissingFolder},
		{"damaged files are refused", testDamagedFiles},
		{"an unknown option is refused", testUnknownOption},
		{"a closed model is unavailable", testClosedModel},
		{"a closed backend is unavailable", testClosedBackend},
		{"info does not wait for predictions", testInfoWhileBusy},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := open(t)
			t.Cleanup(func() { closeTwice(t, "backend", b) })
			test.test(t, &contender{b, fixture})
		})
	}
}

// contender is a backend under test.
type contender struct {
	backends.Backend
	fixture Fixture
}

func (c *contender) load(t *testing.T) *subject {
	t.Helper()
	m, err := c.Load(t.Context(), c.fixture.Spec)
	if err != nil {
		t.Fatalf("Load(%+v) = %v", c.fixture.Spec, err)
	}
	t.Cleanup(func() { closeTwice(t, "model", m) })
	return &subject{m, c.fixture}
}

func closeTwice(t *testing.T, what string, c interface{ Close() error }) {
	t.Helper()
	for _, which := range []string{"first", "second"} {
		if err := c.Close(); err != nil {
			t.Errorf("%s Close of the %s = %v", which, what, err)
		}
	}
}

// subject is a model under test.
type subject struct {
	backends.Model
	fixture Fixture
}

func (s *subject) input(rows int) backends.Batch {
	if s.fixture.Input != nil {
		return s.fixture.Input(rows)
	}
	return Example(s.Signature(), rows)
}

func (s *subject) predict(t *testing.T, in backends.Batch) backends.Batch {
	t.Helper()
	out, err := s.Predict(t.Context(), in)
	if err != nil {
		t.Fatalf("Predict(%s) = %v", describe(in), err)
	}
	s.keep(t, in, out)
	return out
}

// keep checks an answer, which may be read until the test ends.
func (s *subject) keep(t *testing.T, in, out backends.Batch) {
	t.Helper()
	t.Cleanup(out.Release)
	if err := conforms(s.Signature(), in, out); err != nil {
		t.Fatalf("Predict(%s): %v", describe(in), err)
	}
}

func (s *subject) needRows(t *testing.T) {
	t.Helper()
	if !s.Signature().Batched {
		t.Skip("the model does not count rows: its signature is not batched")
	}
}

func testInfo(t *testing.T, c *contender) {
	info, err := c.Info(t.Context())
	if err != nil || info.Name == "" {
		t.Errorf("Info = %+v, %v, want a name", info, err)
	}
}

func testSignature(t *testing.T, c *contender) {
	s := c.load(t).Signature()
	if len(s.Inputs) == 0 || len(s.Outputs) == 0 {
		t.Fatalf("Signature = %+v, want inputs and outputs", s)
	}
	for _, spec := range append(append([]backends.TensorSpec(nil), s.Inputs...), s.Outputs...) {
		if spec.Name == "" || spec.Datatype < backends.Bool || spec.Datatype > backends.Bytes {
			t.Errorf("%+v has no name or datatype", spec)
		}
		if s.Batched && (len(spec.Shape) == 0 || spec.Shape[0] != -1) {
			t.Errorf("%q has shape %v: in a batched signature it starts with -1", spec.Name, spec.Shape)
		}
	}
}

func testShapes(t *testing.T, c *contender) {
	s := c.load(t)
	for _, rows := range []int{1, 2, 7} {
		s.predict(t, s.input(rows))
	}
}

func testRows(t *testing.T, c *contender) {
	s := c.load(t)
	s.needRows(t)
	const rows = 9
	in := s.input(rows)
	out := s.predict(t, in)
	for i := range rows {
		alone := s.predict(t, row(in, i))
		if err := near(row(out, i), alone, s.fixture.Tolerance); err != nil {
			t.Errorf("row %d of %d is not what it is alone: %v", i, rows, err)
		}
	}
}

func testOutputs(t *testing.T, c *contender) {
	s := c.load(t)
	in := s.input(2)
	all := s.predict(t, in)
	for i := len(all.Tensors) - 1; i >= 0; i-- { // the last first: another order than the signature's
		in.Outputs = append(in.Outputs, all.Tensors[i].Name)
		some := s.predict(t, in)
		for _, tensor := range some.Tensors {
			same, _ := all.Tensor(tensor.Name)
			if err := near(one(tensor), one(same), s.fixture.Tolerance); err != nil {
				t.Errorf("outputs %v: %v", in.Outputs, err)
			}
		}
	}
}

func testZeroRows(t *testing.T, c *contender) {
	s := c.load(t)
	s.needRows(t)
	s.predict(t, s.input(0))
}

func testJoined(t *testing.T, c *contender) {
	s := c.load(t)
	s.needRows(t)
	joiner, ok := s.Model.(backends.Joiner)
	if !ok {
		t.Skip("the model joins no parts: it is no backends.Joiner")
	}
	const rows = 5
	in := s.input(rows)
	in.Outputs = []string{s.Signature().Outputs[0].Name}
	parts := make([]backends.Batch, rows)
	for i := range parts {
		parts[i] = row(in, i)
	}
	out, err := joiner.PredictJoined(t.Context(), parts)
	if err != nil {
		t.Fatalf("PredictJoined of %d parts = %v", rows, err)
	}
	s.keep(t, in, out)
	if err := near(out, s.predict(t, in), s.fixture.Tolerance); err != nil {
		t.Errorf("%d parts joined: %v", rows, err)
	}
}

func testAnswersStay(t *testing.T, c *contender) {
	s := c.load(t)
	s.needRows(t)
	in := s.input(20)
	held := s.predict(t, row(in, 0))
	before := fingerprint(held)
	for i := range in.Rows() {
		out, err := s.Predict(t.Context(), row(in, i))
		if err != nil {
			t.Fatalf("Predict of row %d = %v", i, err)
		}
		out.Release()
	}
	if after := fingerprint(held); after != before {
		t.Errorf("later predictions changed an answer that is still held: %s, was %s", after, before)
	}
}

// testManyHeld holds more answers than anyone makes room for in advance.
func testManyHeld(t *testing.T, c *contender) {
	s := c.load(t)
	const answers = 100
	in := s.input(1)
	want := s.predict(t, in)
	held := make([]backends.Batch, answers)
	for i := range held {
		held[i] = s.predict(t, in)
	}
	for i, out := range held {
		if err := near(out, want, s.fixture.Tolerance); err != nil {
			t.Errorf("answer %d of %d that are held: %v", i, answers, err)
		}
	}
}

func testLarge(t *testing.T, c *contender) {
	s := c.load(t)
	s.needRows(t)
	rows := largeBytes/size(s.input(1)) + 1
	in := s.input(rows)
	out := s.predict(t, in)
	for _, i := range []int{0, rows / 2, rows - 1} {
		if err := near(row(out, i), s.predict(t, row(in, i)), s.fixture.Tolerance); err != nil {
			t.Errorf("row %d of %d is not what it is alone: %v", i, rows, err)
		}
	}
}

func testConcurrent(t *testing.T, c *contender) {
	s := c.load(t)
	const callers, calls = 8, 5
	failures := make(chan error, callers)
	for caller := range callers {
		in := s.input(caller + 1)
		want := s.predict(t, in)
		go func() { failures <- s.repeat(t.Context(), calls, in, want) }()
	}
	for range callers {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}

func (s *subject) repeat(ctx context.Context, calls int, in, want backends.Batch) error {
	for range calls {
		out, err := s.Predict(ctx, in)
		if err == nil {
			err = near(out, want, s.fixture.Tolerance)
			out.Release()
		}
		if err != nil {
			return fmt.Errorf("Predict(%s) beside others: %w", describe(in), err)
		}
	}
	return nil
}

func testEndedContext(t *testing.T, c *contender) {
	s := c.load(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for ctx, want := range map[context.Context]error{cancelled: context.Canceled, late: context.DeadlineExceeded} {
		if out, err := s.Predict(ctx, s.input(1)); !errors.Is(err, want) {
			t.Errorf("Predict under an ended context = %v, %v, want %v", out, err, want)
		}
	}
}

func testInputUnchanged(t *testing.T, c *contender) {
	s := c.load(t)
	in := s.input(5)
	before := fingerprint(in)
	s.predict(t, in)
	if after := fingerprint(in); after != before {
		t.Errorf("Predict changed its input: %s, was %s", after, before)
	}
}

func testBadInput(t *testing.T, c *contender) {
	s := c.load(t)
	for name, spoil := range map[string]func(*backends.Batch){
		"no inputs":         func(b *backends.Batch) { b.Tensors = nil },
		"an unknown input":  func(b *backends.Batch) { b.Tensors[0].Name += "?" },
		"an input twice":    func(b *backends.Batch) { b.Tensors = append(b.Tensors, b.Tensors[0]) },
		"another datatype":  func(b *backends.Batch) { b.Tensors[0].Datatype = otherDatatype(b.Tensors[0].Datatype) },
		"a dimension more":  func(b *backends.Batch) { b.Tensors[0].Shape = append(b.Tensors[0].Shape, 1) },
		"a negative shape":  func(b *backends.Batch) { b.Tensors[0].Shape[0] = -1 },
		"an enormous shape": func(b *backends.Batch) { b.Tensors[0].Shape[0] = 1 << 62 },
		"data cut short":    func(b *backends.Batch) { b.Tensors[0].Data = b.Tensors[0].Data[:len(b.Tensors[0].Data)-1] },
		"no data":           func(b *backends.Batch) { b.Tensors[0].Data = nil },
		"an unknown output": func(b *backends.Batch) { b.Outputs = []string{"no such output"} },
	} {
		in := clone(s.input(3))
		spoil(&in)
		if _, err := s.Predict(t.Context(), in); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("%s: Predict = %v, want ErrInvalid", name, err)
		}
	}
	s.predict(t, s.input(3)) // and the model is none the worse for it
}

func testMissingFolder(t *testing.T, c *contender) {
	c.needFiles(t)
	spec := c.fixture.Spec
	spec.Dir = filepath.Join(t.TempDir(), "missing")
	c.refuses(t, spec, "without a folder")
	spec.Dir = t.TempDir()
	c.refuses(t, spec, "of an empty folder")
}

func testDamagedFiles(t *testing.T, c *contender) {
	c.needFiles(t)
	for _, keep := range []float64{0, 0.2, 0.5, 0.8} {
		spec := c.fixture.Spec
		spec.Dir = filepath.Join(t.TempDir(), "model")
		if err := copyCut(spec.Dir, c.fixture.Spec.Dir, keep); err != nil {
			t.Fatal(err)
		}
		c.refuses(t, spec, fmt.Sprintf("of files cut to %g of their size", keep))
	}
	c.load(t)
}

func (c *contender) needFiles(t *testing.T) {
	t.Helper()
	if c.fixture.Spec.Dir == "" {
		t.Skip("the backend needs no files")
	}
}

// refuses checks that the model cannot be loaded, for a reason that lies in the model.
func (c *contender) refuses(t *testing.T, spec backends.Spec, what string) {
	t.Helper()
	m, err := c.Load(t.Context(), spec)
	if err == nil {
		_ = m.Close()
	}
	if !errors.Is(err, backends.ErrInvalid) && !errors.Is(err, backends.ErrUnsupported) {
		t.Errorf("Load %s = %v, want ErrInvalid or ErrUnsupported", what, err)
	}
}

// copyCut copies the files of a folder, of each only the first part.
func copyCut(to, from string, keep float64) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Truncate(path, int64(float64(info.Size())*keep))
	})
}

func testUnknownOption(t *testing.T, c *contender) {
	spec := c.fixture.Spec
	spec.Options = map[string]string{"no such option": "1"}
	for k, v := range c.fixture.Spec.Options {
		spec.Options[k] = v
	}
	if _, err := c.Load(t.Context(), spec); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("Load with an unknown option = %v, want ErrInvalid", err)
	}
}

func testClosedModel(t *testing.T, c *contender) {
	s, other := c.load(t), c.load(t)
	closeTwice(t, "model", s)
	if _, err := s.Predict(t.Context(), s.input(1)); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Predict of a closed model = %v, want ErrUnavailable", err)
	}
	other.predict(t, other.input(1))
}

func testClosedBackend(t *testing.T, c *contender) {
	s := c.load(t)
	closeTwice(t, "backend", c)
	if _, err := s.Predict(t.Context(), s.input(1)); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Predict after the backend's Close = %v, want ErrUnavailable", err)
	}
	if _, err := c.Load(t.Context(), c.fixture.Spec); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Load after the backend's Close = %v, want ErrUnavailable", err)
	}
}

func testInfoWhileBusy(t *testing.T, c *contender) {
	s := c.load(t)
	const callers = 4
	ctx, stop := context.WithCancel(t.Context())
	began, ended := make(chan struct{}, callers), make(chan struct{})
	for range callers {
		in := s.input(64)
		go func() {
			began <- struct{}{}
			for ctx.Err() == nil {
				if out, err := s.Predict(ctx, in); err == nil {
					out.Release()
				}
			}
			ended <- struct{}{}
		}()
	}
	for range callers {
		<-began
	}
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), quick)
		if _, err := c.Info(ctx); err != nil {
			t.Errorf("Info while busy = %v", err)
		}
		cancel()
	}
	stop()
	for range callers {
		<-ended
	}
}
