//go:build !purego && !linux

package kernels

// permitTiles reports false: how other systems give tiles to a process is not known here.
func permitTiles() bool { return false }
