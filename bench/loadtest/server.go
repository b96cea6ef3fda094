package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// stall is how long a server that stalls does so, once, at its stallAt-th request.
const (
	stall   = 1400 * time.Millisecond
	stallAt = 800
)

func serveFast(ctx context.Context) error { return serve(ctx, 0) }

func serveStall(ctx context.Context) error { return serve(ctx, stallAt) }

// serve is an HTTP server of one thread that does as little as can be, until standard input ends. It
// believes that a request is one POST with a Content-Length, and always answers the same.
func serve(ctx context.Context, stallAt int) error {
	s, err := listen()
	if err != nil {
		return err
	}
	s.stallAt = stallAt
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		over.Store(true)
	}()
	for ctx.Err() == nil && !over.Load() {
		if err := s.turn(); err != nil {
			return err
		}
	}
	return nil
}

// server is a listening socket and its connections.
type server struct {
	listener, poll int
	conns          map[int32]*[]byte // what of a request is there, by descriptor
	in, answer     []byte
	answered       int
	stallAt        int
}

// answer returns a reply with one float in the binary form.
func answer() []byte {
	head := `{"model_name":"null","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}`
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\n"+
		"Content-Length: %d\r\n\r\n%s\x00\x00\x80\x3f", len(head), len(head)+4, head)
}

func listen() (*server, error) {
	s := &server{conns: map[int32]*[]byte{}, in: make([]byte, 64<<10), answer: answer()}
	var err error
	if s.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if err := unix.Bind(s.listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	if err := unix.Listen(s.listener, 1024); err != nil {
		return nil, err
	}
	if s.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	name, err := unix.Getsockname(s.listener)
	if err != nil {
		return nil, err
	}
	fmt.Printf("127.0.0.1:%d\n", name.(*unix.SockaddrInet4).Port)
	return s, s.watch(s.listener)
}

func (s *server) watch(fd int) error {
	return unix.EpollCtl(s.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// turn answers what is there, and looks up from time to time if nothing is.
func (s *server) turn() error {
	var events [256]unix.EpollEvent
	n, err := unix.EpollWait(s.poll, events[:], 100)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	for _, e := range events[:max(n, 0)] {
		if int(e.Fd) == s.listener {
			err = s.accept()
		} else {
			err = s.read(e.Fd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// accept takes all who wait.
func (s *server) accept() error {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) {
			return nil
		}
		if err != nil {
			return err
		}
		s.conns[int32(fd)] = new([]byte)
		if err := errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), s.watch(fd)); err != nil {
			return err
		}
	}
}

func (s *server) read(fd int32) error {
	n, err := unix.Read(int(fd), s.in)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	if err != nil || n == 0 {
		delete(s.conns, fd)
		return unix.Close(int(fd))
	}
	part := s.conns[fd]
	whole, err := length(append(*part, s.in[:n]...))
	if err != nil {
		return err
	}
	if whole < 0 || whole > len(*part)+n {
		*part = append(*part, s.in[:n]...)
		return nil
	}
	*part = (*part)[:0]
	if s.answered++; s.answered == s.stallAt {
		time.Sleep(stall)
	}
	if _, err := unix.Write(int(fd), s.answer); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return err
	}
	return nil
}

var lengthName = []byte("Content-Length: ")

// length returns how many bytes the request has that b begins with, -1 if that is not known yet.
func length(b []byte) (int, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return -1, nil
	}
	at := bytes.Index(b[:end], append([]byte("\r\n"), lengthName...))
	if at < 0 {
		return 0, errors.New("a request has no Content-Length")
	}
	value := b[at+2+len(lengthName) : end]
	if line := bytes.IndexByte(value, '\r'); line >= 0 {
		value = value[:line]
	}
	n, err := strconv.Atoi(string(value))
	return end + 4 + n, err
}
