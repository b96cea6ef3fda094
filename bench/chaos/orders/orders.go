// Package orders is what the chaos program and its faulty backend have agreed on.
package orders

// Order is the first number of a row: what the backend is to do when it computes it.
type Order int64

// The orders.
const (
	Answer   Order = iota // as a good backend does
	Segfault              // end by a signal
	Exit                  // end in order, without an answer
	Hang                  // never answer
	Drag                  // be ten times slower from now on
	Leak                  // keep a megabyte for good, and answer
	Short                 // answer with a row too few
	Long                  // answer with a row too many
	Garbage               // answer with other tensors than were promised
	Scribble              // write noise over what is shared with the host, and answer
	Forge                 // write noise there that looks like the next replies, and answer
)

// Reply is what a row with the number x is to be answered with: no two rows have the same.
func Reply(x int64) int64 { return x*0x9E3779B1 + 0x7F4A7C15 }
