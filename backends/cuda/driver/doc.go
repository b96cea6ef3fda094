// Package driver calls what the CUDA driver offers and package gorgonia.org/cu does not: pinned
// host memory, capture of streams and the graphs made of it, attributes of functions, pools of
// memory, memory that processes share, and the texts of errors. It loads the driver's library when it is asked to, needs none
// to be built, and tells why there is none to use.
//
// Handles are those of the library, so that what one of the two packages makes the other can use.
// Except where it says so, a method works in the context that is current in the calling thread.
package driver
