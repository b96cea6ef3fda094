// Package attack sends requests at their intended starts, whatever becomes of those before, and
// records what comes back.
//
// An open loop follows a schedule. The latency that counts is from the intended start; that from the
// actual send is kept beside it. A start that finds no free connection gets the next one that is, and
// one that has waited for as long as a request may take, or behind too many others, is dropped. A
// send that comes more than a millisecond after its intended start is late, or if it waited for a
// connection queued, which is the server's doing. Run.Invalid says so when more than 0.1 % were late,
// and more than two, any was dropped or the generator used more than 90 % of its core; an attack of
// whose starts more than 1 % were dropped ends by itself. A connection that has to be made
// for a request counts as sent when its making begins: the time that it takes is the server's.
//
// A closed loop keeps a number of requests under way and waits for each. It shows what a server can
// do, never what its users would see. While connections cannot be made it tries again after a
// millisecond, after two, and so on up to 100, and counts each as broken.
//
// An *HTTP target is driven by one thread on Linux, any other by a goroutine for each connection.
// Nothing is sent twice: a request on a kept connection that the server closes at that moment is
// broken.
package attack

import (
	"context"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// Request is a request that is ready to be sent: all of its bytes are made before the run.
type Request struct {
	Body []byte
	Head int // bytes of Body that are JSON, where binary tensors follow; 0 if all of it is
	Rows int // of its inputs
}

// Reply is an answer. Its Body is the target's again after the call of whoever was given it.
type Reply struct {
	Status int // as in HTTP
	Body   []byte
	Head   int // as of a Request
}

// Target answers requests.
type Target interface {
	// Open returns a connection, which one goroutine at a time uses but for Close. ctx is for the
	// time of opening only.
	Open(ctx context.Context) (Conn, error)
}

// Conn sends one request at a time.
type Conn interface {
	// Do sends r and waits for the answer, at most until the deadline. An error says that there is
	// none; the connection is closed then. What is in the answer stays as it is until the next call.
	Do(r *Request, deadline time.Time) (Reply, error)
	// Close may come while Do is under way, which ends with an error then, and more than once.
	Close() error
}

// Options are an attack. Either Schedule or Concurrency is given.
type Options struct {
	Target      Target // any; an *HTTP is driven without a goroutine for each connection
	Requests    []Request
	Pick        func(n uint64) int // which of Requests is the n-th to be sent; in turns if nil
	Schedule    schedule.Schedule
	Concurrency int           // a closed loop
	Duration    time.Duration // of a closed loop
	WarmUp      time.Duration // of a closed loop: what comes before its duration and is not counted
	Connections int           // at most; 0 for as many as are needed, up to 1024
	Ready       int           // of them are there before the first start; of an *HTTP without TLS only
	Timeout     time.Duration // of a request from its send, and of a start without a connection; 0 for 10 s
	Check       Check         // may be nil

	OnWindow func(result.Window) // called after every second; may be nil
	OnStep   func(result.Step)   // called with each step of which all is known before the end of the attack, in their order; may be nil
	Stop     func() string       // asked every second; a reason ends the attack; may be nil
}

// Check compares answers, chosen by chance, with those that are known to be right, in a goroutine
// beside the attack. Where it falls behind fewer are compared.
type Check struct {
	Share float64 // of the answers, from 0 to 1
	Equal func(i int, r Reply) error
}
