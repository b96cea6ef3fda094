//go:build purego || !amd64

package kernels

// Levels returns what this processor and this build have, slowest first.
func Levels() []Level { return []Level{Portable} }
