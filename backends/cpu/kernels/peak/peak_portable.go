//go:build purego || !amd64

package peak

func loop(bool, int) int { return 0 }
func pairs(int) int      { return 0 }
func bytes(int) int      { return 0 }
func pairTiles(int) int  { return 0 }
func byteTiles(int) int  { return 0 }

func rows(bool, *byte, *int, int, int, int) {}
