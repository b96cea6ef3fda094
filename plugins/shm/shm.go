// Package shm carries calls between two processes through memory that both map: bytes there,
// bytes back, and nothing that knows what they mean.
//
// The host makes one control region and, as its calls need them, arenas. All are memfds sealed
// against shrinking and growing, so that neither side can take memory away under the other. The
// control region is inherited; arenas follow as file descriptors over a socket, which also says
// which calls are cancelled.
//
//	control region                         arena
//	+---------------------------+ 0        +-------------------+ 0
//	| magic                     |          | slot 0            |
//	+---------------------------+ 128      +-------------------+ slot bytes
//	| requests: 1 = plugin sleeps|         | slot 1            |
//	+---------------------------+ 256      +-------------------+
//	| replies: 1 = host sleeps  |          | ...               |
//	+---------------------------+ 4096
//	| requests: 1024 descriptors|          slot of a call
//	+---------------------------+ +64 KiB  +---------+-----+---------+------+
//	| replies: 1024 descriptors |          | request | pad | reply   | rest |
//	+---------------------------+ +64 KiB  +---------+-----+---------+------+
//
// Each descriptor fills a cache line and ends with its sequence number, which is stored last: one
// line is all that moves between the processors for a message. What a sleeper waits on has two
// lines for itself, since processors fetch lines in pairs.
//
// A ring never overflows: there are at most as many slots as a ring has descriptors, a call owns
// a slot from its request until its reply has been read, and so neither direction ever holds
// more unread messages than that.
//
// Neither side trusts the other. A descriptor is read once, each word once, and what is acted on
// is the checked copy. Contents of slots may change while they are read: who decodes them copies
// what it checks.
package shm

import "errors"

const (
	lineBytes = 64

	controlMagic = 0x316d68736d726874 // "thrmshm1"

	magicAt    = 0
	requestsAt = 2 * lineBytes // the words that sleepers wait on
	repliesAt  = 4 * lineBytes

	ringLen         = 1024 // a power of two
	ringBytes       = ringLen * lineBytes
	requestRingAt   = 4096
	replyRingAt     = requestRingAt + ringBytes
	controlBytes    = replyRingAt + ringBytes
	maxArenaBytes   = 1 << 40 // of one arena: so that no sum of offsets overflows
	populateAtMost  = 64 << 20
	slotGranularity = 4096
)

// MaxSlots is how many slots a host may have in all, and so how many calls under way.
const MaxSlots = ringLen

// The files that a plugin inherits from its host are, in this order, the control region and the
// plugin's end of the socket.

// ErrTooLarge says that a call needs more memory than its pool may ever have.
var ErrTooLarge = errors.New("beyond the bound on shared memory")

// ErrClosed says that a pool or its host has been closed.
var ErrClosed = errors.New("shared memory is closed")

// ErrUnavailable says that this platform has no shared memory of the kind needed.
var ErrUnavailable = errors.New("shared memory needs Linux on amd64 or arm64")

// align returns n rounded up to a multiple of a power of two.
func align(n, to int) int { return (n + to - 1) &^ (to - 1) }
