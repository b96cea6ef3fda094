//go:build race

package kernels_test

// detectingRaces is set where an interpreter, which is one goroutine, takes ten times as long for nothing.
const detectingRaces = true
