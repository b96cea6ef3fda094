//go:build race

package cpu

// detectingRaces is set where pools forget some of what they are given.
const detectingRaces = true
