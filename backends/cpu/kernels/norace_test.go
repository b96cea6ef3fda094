//go:build !race

package kernels

// detectingRaces is set where pools forget some of what they are given.
const detectingRaces = false
