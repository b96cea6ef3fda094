//go:build !linux || !(amd64 || arm64)

package shm

import (
	"net"
	"os"
	"time"
)

// Available reports whether this platform has what the package needs.
const Available = false

type region struct{ mem []byte }

func newRegion(string, int) (region, *os.File, error) { return region{}, nil, ErrUnavailable }
func openRegion(*os.File, int) (region, error)        { return region{}, ErrUnavailable }
func (*region) unmap()                                {}
func socketPair() (*net.UnixConn, *os.File, error)    { return nil, nil, ErrUnavailable }
func openSocket(*os.File) (*net.UnixConn, error)      { return nil, ErrUnavailable }
func sendFile(*net.UnixConn, []byte, *os.File) error  { return ErrUnavailable }
func receiveFile(*net.UnixConn, []byte) (int, *os.File, error) {
	return 0, nil, ErrUnavailable
}
func futexWait(*uint32, uint32, time.Duration) {}
func futexWake(*uint32)                        {}
func monotonic() int64                         { return 0 }
func pause()                                   {}
