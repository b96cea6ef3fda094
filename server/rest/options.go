package rest

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// Options are the settings of a Server. A zero value stands for the default that is named.
type Options struct {
	Name    string // in the server's metadata; "thrum"
	Version string // in the server's metadata; "dev"

	MaxBodyBytes   int           // of a request, also after decompression; 64 MiB
	MaxConnections int           // open at once on a listener, further ones get a 503; 10,000
	ReadTimeout    time.Duration // for one request to come in whole, and for a new connection's first byte; 30 s
	WriteTimeout   time.Duration // for one reply to go out; 30 s
	IdleTimeout    time.Duration // between two requests of a connection; 90 s

	Observe func(Observation) // called once for every infer request, after its reply is made; may be nil
	Log     *slog.Logger      // gets faults of ours and of the listener; may be nil
}

// Observation tells how one infer request went.
type Observation struct {
	Model   string // empty, like Version, if the client named none that exists
	Version string
	Status  int // the HTTP status of the reply

	Parse   time.Duration // reading the request's body into tensors
	Queue   time.Duration // waiting for its batch to be sent
	Compute time.Duration // from sending the batch until its result
	Reply   time.Duration // writing the answer's tensors into the reply's body
	Total   time.Duration // from the request's last byte until its reply is made

	Rows      int // of the request
	BatchRows int // executed together with them, theirs included
	Cache     backends.CacheOutcome
	BytesIn   int
	BytesOut  int
}

// Validate reports a setting that cannot be meant.
func (o Options) Validate() error {
	switch {
	case o.MaxBodyBytes < 0:
		return fmt.Errorf("max body of %d bytes: use 1 or more", o.MaxBodyBytes)
	case o.MaxConnections < 0:
		return fmt.Errorf("%d connections: use 1 or more", o.MaxConnections)
	case o.ReadTimeout < 0:
		return fmt.Errorf("read timeout of %v: use a positive duration", o.ReadTimeout)
	case o.WriteTimeout < 0:
		return fmt.Errorf("write timeout of %v: use a positive duration", o.WriteTimeout)
	case o.IdleTimeout < 0:
		return fmt.Errorf("idle timeout of %v: use a positive duration", o.IdleTimeout)
	}
	return nil
}

// withDefaults fills in what is not set.
func (o Options) withDefaults() Options {
	o.Name = cmp.Or(o.Name, "thrum")
	o.Version = cmp.Or(o.Version, "dev")
	o.MaxBodyBytes = cmp.Or(o.MaxBodyBytes, 64<<20)
	o.MaxConnections = cmp.Or(o.MaxConnections, 10_000)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 30*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 90*time.Second)
	if o.Observe == nil {
		o.Observe = func(Observation) {}
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}
