package backends

import (
	"errors"
	"fmt"
	"time"
)

// Every error on the path of a request wraps one of these, context.Canceled or
// context.DeadlineExceeded. Anything else is a fault of ours (HTTP 500).
var (
	ErrInvalid     = errors.New("invalid")     // the request can never succeed as it is: 400
	ErrNotFound    = errors.New("not found")   // no such model or version: 404
	ErrTooLarge    = errors.New("too large")   // beyond a configured size limit: 413
	ErrOverloaded  = errors.New("overloaded")  // a bounded queue is full, try later: 429
	ErrUnsupported = errors.New("unsupported") // understood, but not offered by this server or backend: 501
	ErrUnavailable = errors.New("unavailable") // no live instance can answer now: 503
	ErrCrashed     = errors.New("crashed")     // the instance died, or had to be killed, over this batch: retry once, then 500
)

// Errorf returns an error that wraps kind and whose text is the formatted message alone,
// so that a client reads what to change and not our taxonomy. A %w in format is wrapped too.
func Errorf(kind error, format string, args ...any) error {
	return &kindError{kind: kind, err: fmt.Errorf(format, args...)}
}

type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// WithRetryAfter returns err with advice on when to try again, for RetryAfter to find.
func WithRetryAfter(err error, wait time.Duration) error {
	return &retryError{err: err, wait: wait}
}

// RetryAfter returns the advice that err or an error it wraps carries.
func RetryAfter(err error) (wait time.Duration, ok bool) {
	var r *retryError
	if !errors.As(err, &r) {
		return 0, false
	}
	return r.wait, true
}

type retryError struct {
	err  error
	wait time.Duration
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }
