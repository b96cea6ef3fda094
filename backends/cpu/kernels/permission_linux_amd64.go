//go:build !purego

package kernels

import "syscall"

// permitTiles asks for the use of tiles by this process: without it the first one ends the process.
// Linux before 5.16 and sandboxes refuse.
func permitTiles() bool {
	const requestPermission, tileData = 0x1023, 18
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}
