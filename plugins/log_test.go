package plugins

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestParseRecord(t *testing.T) {
	for name, test := range map[string]struct {
		line    string
		level   slog.Level
		message string
		attrs   string // of the form key=value,…
		text    bool   // it is no record
	}{
		"ours":                 {line: `{"@timestamp":"2026-01-02T03:04:05.678901234Z","@level":"INFO","@message":"hi","rows":3}`, message: "hi", attrs: "rows=3"},
		"hclog's":              {line: `{"@level":"warn","@message":"hi","@module":"m","@timestamp":"2026-01-02T03:04:05.678901Z"}`, level: slog.LevelWarn, message: "hi", attrs: "@module=m"},
		"hclog's lowest level": {line: `{"@level":"trace","@message":"hi"}`, level: slog.LevelDebug - 4, message: "hi"},
		"between levels":       {line: `{"@level":"ERROR+2","@message":"hi"}`, level: slog.LevelError + 2, message: "hi"},
		"a large number":       {line: `{"@level":"info","@message":"hi","n":12345678901234567890}`, message: "hi", attrs: "n=12345678901234567890"},
		"attrs in order":       {line: `{"@level":"info","@message":"hi","b":1,"a":{"c":2}}`, message: "hi", attrs: "a=map[c:2],b=1"},
		"text":                 {line: `hello`, text: true},
		"a number":             {line: `12`, text: true},
		"other JSON":           {line: `{"level":"info","msg":"hi"}`, text: true},
		"message no string":    {line: `{"@level":"info","@message":5}`, text: true},
		"level no string":      {line: `{"@level":5,"@message":"hi"}`, text: true},
		"no such level":        {line: `{"@level":"loud","@message":"hi"}`, text: true},
		"cut":                  {line: `{"@level":"info","@message":"hi`, text: true},
	} {
		r, ok := parseRecord([]byte(test.line))
		if ok == test.text {
			t.Errorf("%s: parseRecord(%s) ok = %v", name, test.line, ok)
			continue
		}
		var attrs []string
		r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a.String()); return true })
		if got := strings.Join(attrs, ","); r.Level != test.level || r.Message != test.message || got != test.attrs {
			t.Errorf("%s: parseRecord(%s) = %v %q %s, want %v %q %s", name, test.line, r.Level, r.Message, got, test.level, test.message, test.attrs)
		}
	}
}

func TestRecordsKeepTheirTime(t *testing.T) {
	r, _ := parseRecord([]byte(`{"@timestamp":"2026-01-02T03:04:05.678901Z","@level":"info","@message":"hi"}`))
	if want := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC); !r.Time.Equal(want) {
		t.Errorf("time = %v, want %v", r.Time, want)
	}
	r, _ = parseRecord([]byte(`{"@timestamp":"yesterday","@level":"info","@message":"hi"}`))
	if time.Since(r.Time) > time.Minute {
		t.Errorf("time of a record without a valid one = %v, want now", r.Time)
	}
}

// TestPluginLogIsReadByTheHost joins the two ends.
func TestPluginLogIsReadByTheHost(t *testing.T) {
	log := newRecords()
	newPluginLog(&lineLog{log: slog.New(log)}).With("a", 1).WithGroup("g").Warn("hi", "msg", "x", "level", 2)
	r := <-log.seen
	if attrs := attrsOf(r); r.Level != slog.LevelWarn || r.Message != "hi" || attrs["a"] != "1" || attrs["g"] != "map[level:2 msg:x]" {
		t.Errorf("arrived as %v %q %v", r.Level, r.Message, attrs)
	}
}

func TestLinesAreWholeWhateverTheWrites(t *testing.T) {
	const said = "one\n\ntwo\r\npanic: three\nfour"
	for size := 1; size <= len(said); size++ {
		log := newRecords()
		l := &lineLog{log: slog.New(log)}
		for rest := []byte(said); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			if n, err := l.Write(rest[:min(size, len(rest))]); n != min(size, len(rest)) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		l.flush()
		l.flush()
		close(log.seen)
		var got []string
		for r := range log.seen {
			got = append(got, r.Level.String()+" "+r.Message)
		}
		if text := strings.Join(got, ", "); text != "INFO one, INFO two, ERROR panic: three, ERROR four" {
			t.Errorf("in writes of %d: %s", size, text)
		}
		if l.lastWords() != "panic: three" {
			t.Errorf("last words = %q, want why it died", l.lastWords())
		}
	}
}

func TestLongLinesAreCut(t *testing.T) {
	log := newRecords()
	l := &lineLog{log: slog.New(log)}
	_, _ = l.Write(bytes.Repeat([]byte("x"), 2*maxLineBytes+1))
	l.flush()
	for _, want := range []int{maxLineBytes, maxLineBytes, 1} {
		if r := <-log.seen; len(r.Message) != want {
			t.Errorf("a line of %d bytes, want %d", len(r.Message), want)
		}
	}
}

func FuzzLineLog(f *testing.F) {
	f.Add([]byte(`{"@level":"info","@message":"hi","a":[1,{"b":null}]}` + "\n"))
	f.Add([]byte(`{"@message":5}` + "\n\n" + "panic: x"))
	f.Add([]byte{0xff, '\n', '{', '}', '\n'})
	f.Fuzz(func(t *testing.T, said []byte) {
		var out bytes.Buffer
		l := &lineLog{log: slog.New(slog.NewJSONHandler(&out, nil))}
		if n, err := l.Write(said); n != len(said) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		l.flush()
		for d := json.NewDecoder(&out); d.More(); {
			var record map[string]any
			if err := d.Decode(&record); err != nil {
				t.Fatalf("logged %s: %v", out.String(), err)
			}
		}
	})
}
