package plugins

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// records collects the host's log.
type records struct {
	slog.Handler
	attrs []slog.Attr
	seen  chan slog.Record
}

func newRecords() *records { return &records{seen: make(chan slog.Record, 1000)} }

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &records{attrs: slices.Concat(r.attrs, attrs), seen: r.seen}
}
func (r *records) Handle(_ context.Context, record slog.Record) error {
	record = record.Clone()
	record.AddAttrs(r.attrs...)
	r.seen <- record
	return nil
}

// next waits for a record with that message.
func (r *records) next(t *testing.T, message string) slog.Record {
	t.Helper()
	late := time.After(soon)
	for {
		select {
		case record := <-r.seen:
			if strings.HasPrefix(record.Message, message) {
				return record
			}
		case <-late:
			t.Fatalf("no %q in the host's log", message)
		}
	}
}

func attrsOf(r slog.Record) map[string]string {
	all := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { all[a.Key] = a.Value.String(); return true })
	return all
}

func TestLogsArriveAsTheyWere(t *testing.T) {
	log := newRecords()
	m := load(t, start(t, command("fake"), Options{Name: "cpu", Log: slog.New(log).With("model", "digits")}), 1)
	if _, err := m.Predict(t.Context(), doing("log")); err != nil {
		t.Fatal(err)
	}
	want := map[string]slog.Level{
		"a detail": slog.LevelDebug, "a warning": slog.LevelWarn, "from hclog": slog.LevelError,
		"text on stdout": slog.LevelInfo, "text on stderr": slog.LevelInfo, "ooooo": slog.LevelInfo, `{"@message": 5`: slog.LevelInfo,
	}
	late := time.After(soon)
	for len(want) > 0 {
		select {
		case r := <-log.seen:
			for message, level := range want {
				if !strings.HasPrefix(r.Message, message) {
					continue
				}
				delete(want, message)
				attrs := attrsOf(r)
				if r.Level != level || attrs["plugin"] != "cpu" || attrs["model"] != "digits" {
					t.Errorf("%q arrived at level %v with %v, want %v of plugin cpu, model digits", message, r.Level, attrs, level)
				}
				if message == "a warning" && (attrs["rows"] != "3" || attrs["why"] != "asked to") {
					t.Errorf("%q arrived with %v", message, attrs)
				}
			}
		case <-late:
			t.Fatalf("did not arrive: %v", want)
		}
	}
}
