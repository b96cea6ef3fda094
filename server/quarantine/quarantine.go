// Package quarantine keeps requests that have ended instances away from instances.
package quarantine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// Options bound a Quarantine. The zero value is good.
type Options struct {
	Duration time.Duration // for which a request is refused; 5 min if 0
	Requests int           // that are remembered at most, the latest ones; 1024 if 0

	// OnGuilty, if not nil, is called when another request is taken in.
	OnGuilty func()
}

// Quarantine is a backends.Predictor in front of another. A request that the other fails with an
// ErrCrashed, since an instance ended over it whenever it was tried, is refused for a while, with
// an ErrCrashed that names its digest. While nobody is in quarantine, it costs nothing to ask.
type Quarantine struct {
	next    backends.Predictor
	options Options

	inside  atomic.Int64 // requests remembered
	refused atomic.Uint64

	mu    sync.Mutex
	until map[digest]time.Time
	order []digest // as they are to be released
}

// digest is the SHA-256 of a request's canonical form.
type digest [sha256.Size]byte

func (d digest) String() string { return fmt.Sprintf("sha256:%x", d[:]) }

// New returns an empty quarantine in front of next.
func New(next backends.Predictor, o Options) *Quarantine {
	o.Duration = cmp.Or(o.Duration, 5*time.Minute)
	o.Requests = cmp.Or(o.Requests, 1024)
	return &Quarantine{next: next, options: o, until: map[digest]time.Time{}}
}

// Predict implements backends.Predictor.
func (q *Quarantine) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	if q.inside.Load() > 0 {
		if err := q.check(digestOf(in), time.Now()); err != nil {
			q.refused.Add(1)
			return backends.Batch{}, err
		}
	}
	out, err := q.next.Predict(ctx, in)
	if errors.Is(err, backends.ErrCrashed) {
		d := digestOf(in)
		if q.add(d, time.Now()) && q.options.OnGuilty != nil {
			q.options.OnGuilty()
		}
		return backends.Batch{}, fmt.Errorf("%w (request %v is refused for %v)", err, d, q.options.Duration)
	}
	return out, err
}

// Refused returns how many requests have been refused.
func (q *Quarantine) Refused() uint64 { return q.refused.Load() }

func digestOf(in backends.Batch) digest {
	head, inputs := in.AppendCanonical(nil)
	h := sha256.New()
	h.Write(head)
	for _, t := range inputs {
		h.Write(t.Data)
	}
	return digest(h.Sum(nil))
}

func (q *Quarantine) check(d digest, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(now)
	until, ok := q.until[d]
	if !ok {
		return nil
	}
	return backends.Errorf(backends.ErrCrashed, "request %v is in quarantine for another %v", d, until.Sub(now).Round(time.Second))
}

// add takes d in and returns true. One that is inside already, because it was tried twice at the
// same time, stays until its time is over.
func (q *Quarantine) add(d digest, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(now)
	if _, ok := q.until[d]; ok {
		return false
	}
	if len(q.order) == q.options.Requests {
		q.forgetFirst()
	}
	q.until[d] = now.Add(q.options.Duration)
	q.order = append(q.order, d)
	q.inside.Add(1)
	return true
}

// release forgets those whose time is over.
func (q *Quarantine) release(now time.Time) {
	for len(q.order) > 0 && !now.Before(q.until[q.order[0]]) {
		q.forgetFirst()
	}
}

func (q *Quarantine) forgetFirst() {
	delete(q.until, q.order[0])
	q.order = q.order[1:]
	q.inside.Add(-1)
}
