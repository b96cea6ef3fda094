package cache

import (
	"time"

	"github.com/thrumserve/thrum/backends"
)

// minBytes is where a budget stops making sense: the index alone takes about half a megabyte.
const minBytes = 1 << 20

// Options bound one Cache.
type Options struct {
	// MaxBytes is the memory that predictions and their keys may take together, those on
	// their way into the cache included. A prediction that takes more than a sixteenth of
	// it is not kept.
	MaxBytes int64

	// TTL is how long a prediction may be given out after it was made; 0 is for ever.
	TTL time.Duration
}

// Validate reports settings that cannot work, as an ErrInvalid that says what to change.
func (o Options) Validate() error {
	if o.MaxBytes < minBytes {
		return backends.Errorf(backends.ErrInvalid, "cache.max_bytes is %d: at least %d are needed", o.MaxBytes, minBytes)
	}
	if o.TTL < 0 {
		return backends.Errorf(backends.ErrInvalid, "cache.ttl is %v: it must not be negative; 0 keeps predictions until they are evicted", o.TTL)
	}
	return nil
}
