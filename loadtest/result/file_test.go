package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// file is a results file of run(n), and how many bytes its header has.
func file(t testing.TB, n int) (data []byte, head int) {
	t.Helper()
	var b bytes.Buffer
	r := run(n)
	w, err := NewWriter(&b, r.Asked, r.Began)
	if err != nil {
		t.Fatal(err)
	}
	head = b.Len()
	if err := w.Window(r.Windows[0]); err != nil {
		t.Fatal(err)
	}
	if err := w.Step(r.Steps[0]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), head
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFileRoundTrip(t *testing.T) {
	data, _ := file(t, 3)
	got, err := Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asJSON(t, got), asJSON(t, run(3)); got != want {
		t.Errorf("Read() = %s\nwant %s", got, want)
	}
}

func TestFileHasEverythingOnce(t *testing.T) {
	data, _ := file(t, 3)
	if n := bytes.Count(data, []byte("\n")); n != 7 || bytes.Contains(data, []byte(`"windows"`)) || bytes.Contains(data, []byte(`"steps"`)) {
		t.Errorf("a file of %d lines, want a header, three windows, two steps and a footer without them", n)
	}
}

func TestFileWithMoreAfterTheFooter(t *testing.T) {
	data, _ := file(t, 1)
	_, err := Read(bytes.NewReader(append(bytes.Clone(data), "xyz"...)))
	var d *Damage
	if !errors.As(err, &d) || d.Offset != int64(len(data)) || d.Bytes != 3 {
		t.Errorf("Read() = %v, want 3 bytes from %d on", err, len(data))
	}
}

func TestFileOfARunThatCameToNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.results")
	w, err := Create(path, run(1).Asked, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Window(run(1).Windows[0]), w.Close(nil)); err != nil {
		t.Fatal(err)
	}
	if r, err := Load(path); err == nil || r == nil || len(r.Windows) != 1 {
		t.Errorf("Load() = %+v, %v, want a window and the damage", r, err)
	}
}

func TestFileIsNotOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.results")
	if err := Save(path, run(2)); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, run(2)); err == nil || !strings.Contains(err.Error(), "exists: name another or remove it") {
		t.Errorf("Save() over a file = %v, want an error", err)
	}
	if r, err := Load(path); err != nil || len(r.Windows) != 2 {
		t.Errorf("Load() = %+v, %v", r, err)
	}
	if _, err := Load(path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load() of no file = %v", err)
	}
}

func TestFileCutAtEveryByte(t *testing.T) {
	data, head := file(t, 3)
	for n := range len(data) {
		r, err := Read(bytes.NewReader(data[:n]))
		if n < head {
			if err == nil || r != nil {
				t.Fatalf("Read() of %d bytes = %v, %v, want an error alone", n, r, err)
			}
			continue
		}
		var d *Damage
		if !errors.As(err, &d) || r == nil {
			t.Fatalf("Read() of %d bytes = %v, %v, want a run and its damage", n, r, err)
		}
		if records := bytes.Count(data[:n], []byte("\n")) - 1; d.Windows+d.Steps != records || len(r.Windows) != d.Windows || len(r.Steps) != d.Steps {
			t.Fatalf("Read() of %d bytes: recovered %d windows and %d steps of %d records", n, d.Windows, d.Steps, records)
		}
		if begin := int64(bytes.LastIndexByte(data[:n], '\n') + 1); d.Offset != begin || d.Bytes != int64(n)-begin {
			t.Fatalf("Read() of %d bytes: %d bytes from offset %d on are damaged, want them from %d on", n, d.Bytes, d.Offset, begin)
		}
		if len(r.Invalid) != 1 || !strings.Contains(r.Invalid[0], d.Error()) {
			t.Fatalf("Read() of %d bytes: the run is invalid because of %q", n, r.Invalid)
		}
	}
}

func TestFileCutGivesWhatCameBefore(t *testing.T) {
	data, _ := file(t, 3)
	r, err := Read(bytes.NewReader(data[:bytes.LastIndex(data, []byte(`{"footer"`))]))
	if err == nil {
		t.Error("Read() of a file without footer = nil, want its damage")
	}
	whole := run(3)
	if got, want := asJSON(t, r.Windows)+asJSON(t, r.Steps), asJSON(t, whole.Windows)+asJSON(t, whole.Steps); got != want {
		t.Errorf("Read() of a file without footer = %s, want %s", got, want)
	}
	if r.Asked != whole.Asked || !r.Began.Equal(whole.Began) {
		t.Errorf("Read() of a file without footer: asked %+v, want %+v", r.Asked, whole.Asked)
	}
}

func TestFileWithAFlippedBit(t *testing.T) {
	data, head := file(t, 2)
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1 << (i % 8)
		r, err := Read(bytes.NewReader(damaged))
		if i < head {
			if err == nil || r != nil {
				t.Fatalf("bit flipped in byte %d of the header: Read() = %v, %v, want an error alone", i, r, err)
			}
			continue
		}
		var d *Damage
		if !errors.As(err, &d) || d.Offset+d.Bytes != int64(len(data)) {
			t.Fatalf("bit flipped in byte %d: Read() = %v, want its damage up to %d", i, err, len(data))
		}
		if want := int64(bytes.LastIndexByte(data[:i], '\n') + 1); d.Offset != want {
			t.Fatalf("bit flipped in byte %d: damaged from %d on, want %d", i, d.Offset, want)
		}
	}
}

func TestFileDamage(t *testing.T) {
	data, _ := file(t, 3)
	lines := bytes.SplitAfter(data, []byte("\n"))
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	for _, c := range []struct {
		name string
		give []byte
		want string
	}{
		{"a line is missing", join(append([][]byte{lines[0]}, lines[2:]...)...), "recovered 0 windows and 0 steps; "},
		{"a line is there twice", join(lines[0], lines[1], lines[1]), "recovered 1 windows and 0 steps; "},
		{"no footer", join(lines[:4]...), "recovered 2 windows and 1 steps; the file is cut before the end of the run"},
		{"more after the footer", join(data, []byte("xyz")), "recovered 3 windows and 2 steps; 3 bytes from offset "},
		{"a file of something else", []byte("PK\x03\x04 and then much else that is no result"), "is none that `thrum loadtest` has written"},
		{"empty", nil, "is none that `thrum loadtest` has written"},
	} {
		if _, err := Read(bytes.NewReader(c.give)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Read() = %v, want %q", c.name, err, c.want)
		}
	}
}

// forge frames lines as a writer would.
func forge(lines ...string) string {
	var b strings.Builder
	var crc uint32
	for _, l := range lines {
		crc = crc32.Update(crc, castagnoli, []byte(l))
		b.Write(frame(crc, len(l)))
		b.WriteString(l + "\n")
	}
	return b.String()
}

const forgedHead = `{"header":{"format":"thrum loadtest results","version":1}}`

func TestFileRefusesForgedRecords(t *testing.T) {
	for _, c := range []struct {
		name, give, want string
	}{
		{"a newer version", forge(`{"header":{"format":"thrum loadtest results","version":2}}`), "has version 2 of the format, want 1"},
		{"another format", forge(`{"header":{"format":"x","version":1}}`), "is none that"},
		{"no header", forge(`{"window":{}}`), "is none that"},
		{"a second header", forge(forgedHead, forgedHead), "neither a window nor a step"},
		{"a window that begins earlier", forge(forgedHead, `{"window":{"begin_ns":5}}`, `{"window":{"begin_ns":5}}`), "recovered 1 windows"},
		{"a window before the run", forge(forgedHead, `{"window":{"begin_ns":-5}}`), "recovered 0 windows"},
		{"an unknown outcome", forge(forgedHead, `{"window":{"outcomes":{"fine":1}}}`), "is not an outcome"},
		{"an unknown field", forge(forgedHead, `{"window":{"weight":1}}`), "unknown field"},
		{"an outcome without latency", forge(forgedHead, `{"step":{"outcomes":{"ok":null}}}`), "an outcome without its latency"},
		{"a rate that nobody asked for", forge(forgedHead, `{"step":{"rate_per_s":1e300}}`), "a step of 1e+300 requests per second"},
		{"a step that ends before it begins", forge(forgedHead, `{"step":{"duration_ns":-1}}`), "requests per second for -1ns"},
		{"a run that ends before it begins", forge(forgedHead, `{"footer":{"took_ns":-1}}`), "a run of -1ns"},
		{"a histogram that is none", forge(forgedHead, `{"window":{"ok":"HIST"}}`), "histogram: too short"},
		{"a length beyond the bound", "00000000 99999999 ", "at most 8388608"},
		{"a negative length", "00000000 -0000001 ", "at most 8388608"},
	} {
		if _, err := Read(strings.NewReader(c.give)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Read() = %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFileBounds(t *testing.T) {
	r := &reader{run: &Run{Windows: make([]Window, maxWindows), Steps: make([]Step, maxSteps)}}
	if err := r.takeWindow(Window{Begin: time.Hour}); err == nil || !strings.Contains(err.Error(), "more than 262144 windows") {
		t.Errorf("a window too many: %v", err)
	}
	if err := r.takeStep(Step{}); err == nil || !strings.Contains(err.Error(), "more than 4096 steps") {
		t.Errorf("a step too many: %v", err)
	}
	r = &reader{run: &Run{}, memory: maxMemory}
	if err := r.takeWindow(Window{OK: (*Histogram)(nil).Clone()}); err == nil || !strings.Contains(err.Error(), "take more than 1073741824 bytes") || len(r.run.Windows) != 0 {
		t.Errorf("a histogram too many: %v", err)
	}
	w := &Writer{to: &bytes.Buffer{}}
	if err := w.Step(Step{Name: strings.Repeat("x", maxRecord)}); err == nil || !strings.Contains(err.Error(), "at most 8388608") {
		t.Errorf("a record that is too long: %v", err)
	}
}

func TestDamageIsSaid(t *testing.T) {
	d := Damage{Windows: 37, Steps: 2, Offset: 88113, Bytes: 1204, Reason: "the checksum does not fit"}
	if got, want := d.Error(), "recovered 37 windows and 2 steps; 1,204 bytes from offset 88,113 on are damaged: the checksum does not fit"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriterSaysWhatFails(t *testing.T) {
	if _, err := NewWriter(full{}, Asked{}, time.Time{}); fmt.Sprint(err) != "results file: no space left" {
		t.Errorf("NewWriter() = %v", err)
	}
}

func FuzzRead(f *testing.F) {
	data, head := file(f, 2)
	f.Add(data)
	f.Add(data[:head])
	f.Add(data[:len(data)-7])
	f.Add([]byte(forge(forgedHead, `{"step":{"outcomes":{"ok":{}}}}`, `{"footer":{}}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read(bytes.NewReader(data))
		var d *Damage
		if r == nil && err == nil || r != nil && err != nil && !errors.As(err, &d) {
			t.Fatalf("Read() = %v, %v", r, err)
		}
		if r == nil {
			return
		}
		use(t, r)
	})
}

// FuzzRecord frames what it is given correctly, to get past the checksum.
func FuzzRecord(f *testing.F) {
	data, _ := file(f, 1)
	for line := range bytes.Lines(data) {
		f.Add(string(line[frameSize : len(line)-1]))
	}
	f.Fuzz(func(t *testing.T, line string) {
		if r, _ := Read(strings.NewReader(forge(forgedHead, line))); r != nil {
			use(t, r)
		}
	})
}

// use does with a run what is done with one.
func use(t *testing.T, r *Run) {
	r.Total().Goodput(time.Second)
	for i, w := range r.Windows {
		r.Length(i)
		w.OK.Curve()
		w.OK.Bars()
	}
	again := *r
	again.Asked.Seed++
	if _, err := Merge(r, &again); err != nil {
		t.Fatalf("Merge() = %v", err)
	}
	if w, err := NewWriter(&bytes.Buffer{}, r.Asked, r.Began); err != nil || w.Close(r) != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
}
