package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
)

var sig = backends.Signature{Batched: true, Inputs: []backends.TensorSpec{
	{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 2}},
	{Name: "name", Datatype: backends.Bytes, Shape: []int64{-1}},
}}

func batch(rows int, name string) backends.Batch {
	var names []byte
	for range rows {
		names = backends.AppendBytesElement(names, []byte(name))
	}
	return backends.Batch{
		Tensors: []backends.Tensor{
			{Name: "x", Datatype: backends.FP32, Shape: []int64{int64(rows), 2}, Data: bytes.Repeat([]byte{1, 2, 3, 4}, 2*rows)},
			{Name: "name", Datatype: backends.Bytes, Shape: []int64{int64(rows)}, Data: names},
		},
		Outputs:    []string{"y"},
		Parameters: []backends.Parameter{{Name: "k", Value: "12"}, {Name: "user", Value: `"u-SECRET"`}},
	}
}

var echo = backends.PredictorFunc(func(_ context.Context, in backends.Batch) (backends.Batch, error) { return in, nil })

func options(t *testing.T) Options {
	return Options{Folder: filepath.Join(t.TempDir(), "a", "m"), Model: "m", Version: "1", Rate: 1, MaxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)}
}

func newRecorder(t *testing.T, o Options) *Recorder {
	t.Helper()
	r, err := New(sig, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func predict(t *testing.T, p backends.Predictor, in backends.Batch) {
	t.Helper()
	if _, err := p.Predict(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func captures(t *testing.T, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// frames returns what the frames of a file hold; each must be whole.
func frames(t *testing.T, path string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		t.Fatalf("%s begins with %.8q", path, data)
	}
	var all [][]byte
	for len(rest) > 0 {
		n := int(binary.LittleEndian.Uint32(rest))
		content := rest[frameBytes : frameBytes+n]
		if crc32.Checksum(content, castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
			t.Fatalf("frame %d of %s is damaged", len(all), path)
		}
		all, rest = append(all, content), rest[frameBytes+n:]
	}
	return all
}

func TestCaptureWritesWhatCame(t *testing.T) {
	o := options(t)
	r := newRecorder(t, o)
	p := r.Wrap(echo)
	in := batch(2, "Ann")
	before := time.Now()
	predict(t, p, in)
	predict(t, p, batch(1, "Bob"))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := r.Stats(); got != (Stats{Written: 2}) {
		t.Errorf("Stats = %+v, want 2 written", got)
	}
	paths := captures(t, o.Folder)
	if len(paths) != 1 {
		t.Fatalf("files %v, want one", paths)
	}
	all := frames(t, paths[0])
	if len(all) != 3 {
		t.Fatalf("%d frames, want a header and two requests", len(all))
	}
	var h header
	if err := json.Unmarshal(all[0], &h); err != nil || h.Schema != 1 || h.Model != "m" || h.Version != "1" || h.Rate != 1 || h.Began.Before(before.Add(-time.Minute)) {
		t.Errorf("header %s: %v", all[0], err)
	}
	offset := time.Duration(binary.LittleEndian.Uint64(all[1]))
	if offset < 0 || offset > time.Minute || offset > time.Duration(binary.LittleEndian.Uint64(all[2])) {
		t.Errorf("arrived after %v, then after %v", offset, time.Duration(binary.LittleEndian.Uint64(all[2])))
	}
	head := binary.LittleEndian.Uint32(all[1][8:])
	body := all[1][12:]
	want := `{"parameters":{"k":12,"user":"u-SECRET"},"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"parameters":{"binary_data_size":16}},` +
		`{"name":"name","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":14}}],"outputs":[{"name":"y"}]}`
	if string(body[:head]) != want {
		t.Errorf("JSON = %s, want %s", body[:head], want)
	}
	if data := append(bytes.Clone(in.Tensors[0].Data), in.Tensors[1].Data...); !bytes.Equal(body[head:], data) {
		t.Errorf("data = %x, want %x", body[head:], data)
	}
}

func TestNobodyElseMayReadTheFiles(t *testing.T) {
	o := options(t)
	r := newRecorder(t, o)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{o.Folder: 0o700, filepath.Dir(o.Folder): 0o700, captures(t, o.Folder)[0]: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestWhatIsMaskedReachesNoFile(t *testing.T) {
	o := options(t)
	o.Mask = []string{"x", "name", "parameters.user"}
	r := newRecorder(t, o)
	in := batch(3, "SECRET")
	in.Tensors[0].Data = []byte("SECRETSECRETSECRETSECRET")
	predict(t, r.Wrap(echo), in)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	path := captures(t, o.Folder)[0]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("SECRET")) || bytes.Contains(data, []byte("ECRE")) {
		t.Errorf("the file holds what is masked: %q", data)
	}
	body := frames(t, path)[1][12:]
	if !bytes.HasSuffix(body, make([]byte, 24+3*4)) || !bytes.Contains(body, []byte(`"parameters":{"k":12}`)) || !bytes.Contains(body, []byte(`"shape":[3,2]`)) {
		t.Errorf("body = %q, want zeros, three empty texts and the other parameter", body)
	}
	if string(in.Tensors[0].Data) != "SECRETSECRETSECRETSECRET" {
		t.Error("masking changed the request itself")
	}
}

func TestAMaskThatNamesNothingIsRefused(t *testing.T) {
	o := options(t)
	o.Mask = []string{"nmae"}
	if _, err := New(sig, o); !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), `no input "nmae"`) {
		t.Errorf("New = %v", err)
	}
	if len(captures(t, o.Folder)) != 0 {
		t.Error("a file was begun")
	}
}

func TestAFolderThatCannotBeWrittenIsRefused(t *testing.T) {
	o := options(t)
	o.Folder = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(o.Folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(sig, o); !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), o.Folder) {
		t.Errorf("New = %v", err)
	}
}

func TestOnlyTheSampleIsKept(t *testing.T) {
	o := options(t)
	o.Rate = 0.25
	r := newRecorder(t, o)
	p := r.Wrap(echo)
	for range 2000 {
		predict(t, p, batch(1, ""))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s := r.Stats()
	if kept := s.Written + s.Dropped; kept < 380 || kept > 620 || s.Skipped != 2000-kept { // 500 ± 6 standard deviations
		t.Errorf("Stats = %+v, want about 500 of 2000 kept", s)
	}
}

func folderSize(t *testing.T, folder string) int64 {
	t.Helper()
	n := int64(0)
	for _, path := range captures(t, folder) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

func TestAFolderHoldsNoMoreThanItMay(t *testing.T) {
	o := options(t)
	o.MaxBytes = 64 << 10
	other := filepath.Join(o.Folder, "notes.txt")
	last := ""
	for run := range 3 { // as if the server were started again
		r, err := open(sig, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, make([]byte, 100<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			r.write(r.appendRecord(nil, batch(20, "abc"), time.Now()))
			if n := folderSize(t, o.Folder); n > o.MaxBytes {
				t.Fatalf("run %d: %d bytes after %d requests, at most %d", run, n, i+1, o.MaxBytes)
			}
		}
		if s := r.Stats(); s.Written != 300 {
			t.Errorf("Stats = %+v, want 300 written", s)
		}
		if err := r.files.close(); err != nil {
			t.Fatal(err)
		}
		paths := captures(t, o.Folder)
		if n := folderSize(t, o.Folder); n < o.MaxBytes/2 || paths[len(paths)-1] == last {
			t.Errorf("run %d: %d bytes in %v, want the latest requests", run, n, paths)
		}
		last = paths[len(paths)-1]
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a file that is no capture: %v", err)
	}
}

func TestFilesThatAreWrittenStay(t *testing.T) {
	o := options(t)
	o.MaxBytes = 64 << 10
	first, err := open(sig, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Version = "2"
	second, err := open(sig, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		second.write(second.appendRecord(nil, batch(20, "abc"), time.Now()))
	}
	if _, err := os.Stat(first.files.file.Name()); err != nil {
		t.Errorf("the file of another version: %v", err)
	}
	for range 50 { // less than its half
		first.write(first.appendRecord(nil, batch(20, "abc"), time.Now()))
	}
	if n := folderSize(t, o.Folder); n > o.MaxBytes {
		t.Errorf("%d bytes, at most %d", n, o.MaxBytes)
	}
	for _, r := range []*Recorder{first, second} {
		if err := r.files.close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsTooMuchIsDroppedAndCounted(t *testing.T) {
	r, err := open(sig, options(t)) // nobody writes
	if err != nil {
		t.Fatal(err)
	}
	p := r.Wrap(echo)
	for range maxQueued + 7 {
		predict(t, p, batch(1, ""))
	}
	if s := r.Stats(); s != (Stats{Dropped: 7}) {
		t.Errorf("Stats = %+v, want 7 dropped", s)
	}
	go r.run()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s != (Stats{Written: maxQueued, Dropped: 7}) || r.queued.Load() != 0 {
		t.Errorf("Stats = %+v, %d bytes queued, want %d written", s, r.queued.Load(), maxQueued)
	}
}

func TestWaitingRecordsHaveABoundInBytes(t *testing.T) {
	o := options(t)
	o.MaxBytes = 1 << 30
	r, err := open(sig, o)
	if err != nil {
		t.Fatal(err)
	}
	p := r.Wrap(echo)
	big := batch(1, "")
	big.Tensors[0].Data = make([]byte, maxQueuedBytes/3)
	for range 5 {
		predict(t, p, big)
	}
	if s := r.Stats(); s.Dropped != 3 || r.queued.Load() > maxQueuedBytes {
		t.Errorf("Stats = %+v, %d bytes queued, want 3 dropped", s, r.queued.Load())
	}
	if err := r.files.close(); err != nil {
		t.Error(err)
	}
}

func TestARequestThatFitsNoFileIsDropped(t *testing.T) {
	o := options(t)
	o.MaxBytes = 64 << 10
	r := newRecorder(t, o)
	predict(t, r.Wrap(echo), batch(5000, ""))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s != (Stats{Dropped: 1}) {
		t.Errorf("Stats = %+v, want one dropped", s)
	}
}

func TestAFullDiskStopsCaptureAndIsSaidOnce(t *testing.T) {
	var log strings.Builder
	o := options(t)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	r, err := open(sig, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.files.close(); err != nil {
		t.Fatal(err)
	}
	if r.files.file, err = os.OpenFile("/dev/full", os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	p := r.Wrap(echo)
	predict(t, p, batch(1, ""))
	predict(t, p, batch(1, ""))
	go r.run()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	predict(t, p, batch(1, ""))
	if s := r.Stats(); s != (Stats{Failed: 3}) {
		t.Errorf("Stats = %+v, want 3 failed", s)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "no space left on device") || !strings.Contains(text, "model=m version=1") {
		t.Errorf("log = %s, want one line", text)
	}
}

func TestADiskThatFillsUpLeavesNoPartOfARequest(t *testing.T) {
	r, err := open(sig, options(t))
	if err != nil {
		t.Fatal(err)
	}
	in := batch(100, "abc")
	r.write(r.appendRecord(nil, in, time.Now()))
	path := r.files.file.Name()
	limitFileSize(t, uint64(r.files.size)+100)
	r.write(r.appendRecord(nil, in, time.Now()))
	if err := r.files.close(); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s != (Stats{Written: 1, Failed: 1}) {
		t.Errorf("Stats = %+v, want one written and one failed", s)
	}
	if n := len(frames(t, path)); n != 2 {
		t.Errorf("%d frames, want a header and a request", n)
	}
}

// limitFileSize makes files fill up at n bytes until the end of the test.
func limitFileSize(t *testing.T, n uint64) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	})
}

func TestManyAtOnce(t *testing.T) {
	o := options(t)
	o.MaxBytes = 64 << 10
	r := newRecorder(t, o)
	p := r.Wrap(echo)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 200 {
				predict(t, p, batch(3, "abc"))
				r.Stats()
			}
		})
	}
	clients.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Written+s.Dropped != 1600 || s.Written == 0 || r.queued.Load() != 0 {
		t.Errorf("Stats = %+v, %d bytes queued", s, r.queued.Load())
	}
	for _, path := range captures(t, o.Folder) {
		frames(t, path)
	}
}

func TestOnlyWhatIsWrittenCountsForTheBound(t *testing.T) {
	o := options(t)
	o.MaxBytes, o.Mask = 64<<10, []string{"name"}
	r := newRecorder(t, o)
	predict(t, r.Wrap(echo), batch(1, strings.Repeat("long", 100_000)))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s != (Stats{Written: 1}) {
		t.Errorf("Stats = %+v, want one written", s)
	}
}

// rarely is a rate at which nothing is kept in the time of a test.
const rarely = 1e-300

func TestARequestThatIsNotKeptCostsNoMemory(t *testing.T) {
	o := options(t)
	o.Rate = rarely
	r := newRecorder(t, o)
	p, in, ctx := r.Wrap(echo), batch(1, ""), t.Context()
	if n := testing.AllocsPerRun(1000, func() { _, _ = p.Predict(ctx, in) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCapture(b *testing.B) {
	for _, c := range []struct {
		name string
		rate float64
	}{{"none", rarely}, {"1 in 100", 0.01}, {"all", 1}} {
		b.Run(c.name, func(b *testing.B) {
			r, err := New(sig, Options{Folder: b.TempDir(), Version: "1", Rate: c.rate, MaxBytes: 8 << 20, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			p, in := r.Wrap(echo), batch(100, "abc")
			b.ReportAllocs()
			for b.Loop() {
				_, _ = p.Predict(b.Context(), in)
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
