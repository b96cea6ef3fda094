//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// socketPair returns the host's end and the file that the plugin is to inherit.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "socket")
	ours, err := openSocket(os.NewFile(uintptr(fds[0]), "socket"))
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// openSocket takes f over.
func openSocket(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("%s is no unix socket", c.LocalAddr().Network())
	}
	return u, nil
}

// sendFile sends a message, and a file with it unless that is nil.
func sendFile(c *net.UnixConn, message []byte, f *os.File) error {
	var rights []byte
	if f != nil {
		rights = unix.UnixRights(int(f.Fd()))
	}
	_, _, err := c.WriteMsgUnix(message, rights, nil)
	return err
}

// receiveFile reads one message and the file that came with it, if one did.
func receiveFile(c *net.UnixConn, message []byte) (n int, f *os.File, err error) {
	rights := make([]byte, unix.CmsgSpace(4))
	n, oobn, flags, _, err := c.ReadMsgUnix(message, rights)
	if err != nil {
		return 0, nil, err
	}
	if f, err = fileOf(rights[:oobn]); err != nil {
		return 0, nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("a message is longer than any should be")
	} else if n == 0 {
		err = net.ErrClosed
	}
	if err != nil && f != nil {
		_ = f.Close()
		f = nil
	}
	return n, f, err
}

func fileOf(rights []byte) (*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages, %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("%d files in a message, %w", len(fds), err)
	}
	return os.NewFile(uintptr(fds[0]), "arena"), nil
}
