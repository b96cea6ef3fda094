package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

// floorCommand runs this program as a server that reads requests and answers without looking at
// them: what the generator and the kernel take by themselves.
func floorCommand(p place) ([]string, error) {
	self, err := os.Executable()
	return []string{self, "-floor", "127.0.0.1:" + strconv.Itoa(p.port), "-floor-answer", floorAnswer(p.model)}, err
}

// floorAnswer is the right one to row 0, and wrong to the others: nothing is checked of it.
func floorAnswer(m model) string {
	return string(mustJSON(inference{Outputs: []tensor{{Name: m.output, Shape: []int{1, len(m.answers[0])}, Datatype: "FP32", Data: m.answers[0]}}}))
}

func serveFloor(address, answer string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	reply := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			for in := bufio.NewReaderSize(c, 64<<10); readRequest(in) == nil; {
				if _, err := c.Write(reply); err != nil {
					return
				}
			}
		}()
	}
}

func readRequest(in *bufio.Reader) error {
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, found := strings.CutPrefix(strings.ToLower(string(line)), "content-length: "); found {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	_, err := io.CopyN(io.Discard, in, int64(length))
	return err
}
