package input

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/thrumserve/thrum/loadtest/oip"
)

// The form of a file of captured requests, as the server's documentation tells it: the magic bytes,
// and then frames, each with its length and CRC-32C before it. The first is a header.
const (
	captureMagic  = "THRUMCAP"
	captureSuffix = ".capture"
	captureSchema = 1
	frameHead     = 8
	recordHead    = 12
)

type captureHeader struct {
	Schema int
	Began  time.Time
	Rate   float64
}

// readCaptures reads the files of a folder as one.
func readCaptures(folder string, paths []string) (*Set, error) {
	s := &Set{Source: folder}
	left := int64(maxBytes)
	for _, path := range paths {
		data, err := readFile(path, left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(data))
		if err := s.addCapture(data); err != nil {
			s.Warnings = append(s.Warnings, fmt.Sprintf("%s: %v", path, err))
		}
	}
	return s.finish()
}

// addCapture reads a file up to its end or its damage, which is a warning if anything comes before
// it.
func (s *Set) addCapture(data []byte) error {
	rest := data[min(len(data), len(captureMagic)):]
	text, rest, err := frame(rest)
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	var h captureHeader
	if err := json.Unmarshal(text, &h); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if h.Schema != captureSchema || !(h.Rate > 0 && h.Rate <= 1) {
		return fmt.Errorf("its schema is %d (rate %v), this program reads %d: use the thrum that wrote it, or a later one", h.Schema, h.Rate, captureSchema)
	}
	s.Captured = h.Rate
	for n := 1; len(rest) > 0; n++ {
		at := len(data) - len(rest)
		var content []byte
		if content, rest, err = frame(rest); err == nil {
			err = s.addRecord(h, content)
		}
		if err != nil {
			s.Warnings = append(s.Warnings, fmt.Sprintf("%s: request %d, at byte %d of %d: %v: what follows is lost", s.Source, n, at, len(data), err))
			return nil
		}
	}
	return nil
}

// frame returns what the first frame holds and what follows it.
func frame(data []byte) (content, rest []byte, err error) {
	if len(data) < frameHead {
		return nil, nil, errors.New("cut short")
	}
	size := binary.LittleEndian.Uint32(data)
	sum := binary.LittleEndian.Uint32(data[4:])
	data = data[frameHead:]
	switch {
	case size == 0:
		return nil, nil, errors.New("damaged") // zeros, as a machine that lost power leaves them, have a right sum
	case uint64(size) > uint64(len(data)):
		return nil, nil, errors.New("cut short")
	}
	content, rest = data[:size:size], data[size:]
	if crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return nil, nil, errors.New("damaged")
	}
	return content, rest, nil
}

func (s *Set) addRecord(h captureHeader, content []byte) error {
	if len(content) < recordHead {
		return errors.New("damaged")
	}
	arrived := time.Duration(binary.LittleEndian.Uint64(content))
	head := int(binary.LittleEndian.Uint32(content[8:]))
	if head == 0 {
		return errors.New("damaged")
	}
	r, err := oip.DecodeRequest(content[recordHead:], head)
	if err != nil {
		return err
	}
	// Files of one run of the server begin at the same time, so that only between runs the wall
	// clock counts.
	s.Cases = append(s.Cases, Case{Request: r, Arrived: time.Duration(h.Began.UnixNano()) + arrived})
	return nil
}
