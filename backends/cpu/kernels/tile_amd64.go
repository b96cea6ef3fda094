//go:build !purego

package kernels

// maxRows returns how many rows a tile may have.
func maxRows(l Level) int { return 4 }

// maxPanels returns how many panels a tile of so many rows may have.
func maxPanels(l Level, rows int) int { return 1 }

func (t *tile) run(l Level) { tilePortable(t) }
