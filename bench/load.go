package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// result is one round.
type result struct {
	requests int64
	took     time.Duration
	cpu      time.Duration // of the server's processes
}

// measure keeps every connection busy with the request for a round.
func measure(ctx context.Context, o options, request []byte, s *server) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, o.round)
	defer cancel()
	if err := s.connect(o.connections); err != nil {
		return result{}, err
	}
	var done atomic.Int64
	errs := make([]error, o.connections)
	before, err := s.cpu()
	if err != nil {
		return result{}, err
	}
	begin := time.Now()
	var wait sync.WaitGroup
	for i, c := range s.connections {
		wait.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = c.roundTrip(request)
				done.Add(1)
			}
		})
	}
	wait.Wait()
	r := result{requests: done.Load(), took: time.Since(begin)}
	after, err := s.cpu()
	r.cpu = after - before
	return r, errors.Join(append(errs, err)...)
}

// connection is a kept-alive HTTP connection that does as little as a client can.
type connection struct {
	net.Conn
	in *bufio.Reader
}

func dial(address string) (*connection, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{c, bufio.NewReaderSize(c, 64<<10)}, nil
}

// roundTrip sends the request and reads the whole reply, which must be a 200 with a length.
func (c *connection) roundTrip(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := strings.HasPrefix(string(status), "HTTP/1.1 200 ")
	failed := string(status)
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, found := strings.CutPrefix(string(line), "Content-Length: "); found {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	if !ok {
		text, _ := io.ReadAll(io.LimitReader(c.in, int64(max(0, length))))
		return fmt.Errorf("%s: %s", strings.TrimSpace(failed), text)
	}
	_, err = c.in.Discard(length)
	return err
}
