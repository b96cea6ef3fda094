//go:build purego || !amd64

package kernels

// maxRows returns how many rows a tile may have.
func maxRows(Level) int { return 4 }

// maxPanels returns how many panels a tile of so many rows may have.
func maxPanels(Level, int) int { return 1 }

func (t *tile) run(Level) { tilePortable(t) }
