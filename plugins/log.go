package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// A plugin's log crosses as lines of JSON on its standard error, with the keys that go-plugin
// made customary, so that plugins written with hclog arrive levelled too.
const (
	timeKey    = "@timestamp"
	levelKey   = "@level"
	messageKey = "@message"
)

// newPluginLog returns the logger of a plugin process. Which levels are wanted is decided in
// the host.
func newPluginLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey:
				a.Key = timeKey
			case slog.LevelKey:
				a.Key = levelKey
			case slog.MessageKey:
				a.Key = messageKey
			}
			return a
		},
	}))
}

// maxLineBytes bounds a line of a plugin's output; what is longer is cut into several.
const maxLineBytes = 64 << 10

// lineLog writes a plugin's output to the host's log, line by line: structured lines as the
// records they were, text at level Info, and the trace of a dying Go program at level Error.
type lineLog struct {
	log *slog.Logger

	mu       sync.Mutex // guards what follows
	partial  []byte
	cause    string // the line that says why a Go program died, else the last line of text
	panicked bool
}

// Write never fails, so that a plugin is never blocked or killed by its own log.
func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if room := maxLineBytes - len(l.partial); len(line) > room {
			line, after, whole = rest[:room], rest[room:], true
		}
		l.partial = append(l.partial, line...)
		if whole {
			l.line(l.partial)
			l.partial = l.partial[:0]
		}
		rest = after
	}
	return len(p), nil
}

// flush logs a last line that has no newline.
func (l *lineLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line(l.partial)
	l.partial = nil
}

// lastWords returns the line that best says why the plugin ended.
func (l *lineLog) lastWords() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

func (l *lineLog) line(line []byte) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return
	}
	if r, ok := parseRecord(line); ok {
		if h := l.log.Handler(); h.Enabled(context.Background(), r.Level) {
			_ = h.Handle(context.Background(), r)
		}
		return
	}
	l.text(string(line))
}

func (l *lineLog) text(line string) {
	fatal := strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
	if !l.panicked {
		l.cause = line
	}
	l.panicked = l.panicked || fatal
	if l.panicked {
		l.log.Error(line)
	} else {
		l.log.Info(line)
	}
}

// parseRecord reads a line of structured log. It reports false for anything that is not
// entirely of that form: the line comes from another process and may hold anything.
func parseRecord(line []byte) (slog.Record, bool) {
	if line[0] != '{' {
		return slog.Record{}, false
	}
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return slog.Record{}, false
	}
	message, ok := fields[messageKey].(string)
	if !ok {
		return slog.Record{}, false
	}
	name, _ := fields[levelKey].(string)
	level, ok := parseLevel(name)
	if !ok {
		return slog.Record{}, false
	}
	stamp, _ := fields[timeKey].(string)
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		at = time.Now()
	}
	r := slog.NewRecord(at, level, message, 0)
	r.AddAttrs(attrs(fields)...)
	return r, true
}

func parseLevel(name string) (slog.Level, bool) {
	if strings.EqualFold(name, "trace") { // hclog's lowest
		return slog.LevelDebug - 4, true
	}
	var level slog.Level
	err := level.UnmarshalText([]byte(name))
	return level, err == nil
}

func attrs(fields map[string]any) []slog.Attr {
	var all []slog.Attr
	for key, value := range fields {
		if key != timeKey && key != levelKey && key != messageKey {
			all = append(all, slog.Any(key, value))
		}
	}
	slices.SortFunc(all, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
	return all
}
