//go:build purego || !amd64

package peak

func loop(bool, int) int { return 0 }
