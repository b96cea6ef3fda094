package host

import (
	"log/slog"
	"time"
)

// EventKind is what has happened.
type EventKind string

// The kinds of event.
const (
	Ready         EventKind = "instance ready" // it takes batches from now on
	Died          EventKind = "instance died"  // by itself or by others' hands
	Hung          EventKind = "instance hung"  // it was killed, and Died follows
	StartFailed   EventKind = "instance failed to start"
	BreakerChange EventKind = "breaker changed" // Reason holds its new state
)

// Event is a step in the life of a version's instances.
type Event struct {
	Kind     EventKind
	Instance int           // from 0
	PID      int           // 0 if there is no process
	Reason   string        // for people
	After    time.Duration // that starting took for Ready, that it lived for Died
}

// tell logs an event and passes it on.
func (m *Model) tell(e Event) {
	level := slog.LevelWarn
	if e.Kind == Ready {
		level = slog.LevelInfo
	}
	m.options.Log.Log(m.ctx, level, string(e.Kind),
		"instance", e.Instance, "pid", e.PID, "after", e.After.Round(time.Millisecond), "reason", e.Reason)
	if m.options.OnEvent != nil {
		m.options.OnEvent(e)
	}
}
