//go:build purego || !amd64

package kernels

// In the build that has assembly the functions here branch on the level.

func (c *conversion) pairRows(Level) { c.pairRowsPortable() }
func (c *conversion) round(Level)    { c.roundPortable() }
func (c *conversion) pairUp(Level)   { c.pairUpPortable(0) }
