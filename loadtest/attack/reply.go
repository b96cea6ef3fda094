package attack

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const (
	maxHead  = 64 << 10 // of a reply, in bytes
	maxReply = 64 << 20 // body of a reply, in bytes
	enough   = 256      // bytes of a body that says why there is no answer
)

// parser reads an HTTP/1.1 reply in pieces of any size. The zero value is ready for the first one.
type parser struct {
	keep bool // the body

	state  state
	line   []byte // the beginning of a line whose end is not there yet
	heads  int    // bytes of lines so far
	size   int64  // bytes of body so far
	left   int64  // bytes of the body, or of its chunk, that are still to come
	length int64  // by Content-Length; -1 without
	chunks bool
	close  bool // the connection ends with this reply
	status int
	head   int // by Inference-Header-Content-Length
	body   []byte
}

// state is what the next byte belongs to.
type state int

const (
	inStatus state = iota
	inHeaders
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailers
	toClose // the body ends with the connection
)

// reset makes p ready for another reply on the same connection.
func (p *parser) reset(keep bool) {
	*p = parser{line: p.line[:0], body: p.body[:0], length: -1, keep: keep}
}

// feed reads b. It returns what is behind the end of the reply, once done.
func (p *parser) feed(b []byte) (rest []byte, done bool, err error) {
	for len(b) > 0 && !done && err == nil {
		if p.state == inBody || p.state == inChunk || p.state == toClose {
			b, done, err = p.feedBody(b)
		} else {
			b, done, err = p.feedLine(b)
		}
	}
	return b, done, err
}

// end says whether the reply is whole when the connection ends here.
func (p *parser) end() bool { return p.state == toClose }

func (p *parser) feedBody(b []byte) (rest []byte, done bool, err error) {
	n := int64(len(b))
	if p.state != toClose {
		n = min(n, p.left)
		p.left -= n
	}
	if p.size += n; p.size > maxReply {
		return nil, false, fmt.Errorf("the reply is longer than %d bytes", maxReply)
	}
	if p.keep {
		p.body = append(p.body, b[:n]...)
	} else if room := int64(enough - len(p.body)); p.status >= 300 && room > 0 {
		p.body = append(p.body, b[:min(n, room)]...)
	}
	if p.left == 0 && p.state == inChunk {
		p.state = inChunkEnd
	}
	return b[n:], p.left == 0 && p.state == inBody, nil
}

func (p *parser) feedLine(b []byte) (rest []byte, done bool, err error) {
	end := bytes.IndexByte(b, '\n')
	n := end + 1
	if end < 0 {
		n = len(b)
	}
	if p.heads += n; p.heads > maxHead {
		return nil, false, fmt.Errorf("the head of the reply is longer than %d bytes", maxHead)
	}
	if end < 0 {
		p.line = append(p.line, b...)
		return nil, false, nil
	}
	line := b[:end]
	if len(p.line) > 0 {
		line = append(p.line, line...)
		p.line = line[:0]
	}
	if len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	done, err = p.readLine(line)
	return b[n:], done, err
}

func (p *parser) readLine(line []byte) (done bool, err error) {
	switch p.state {
	case inStatus:
		return false, p.readStatus(line)
	case inHeaders:
		if len(line) == 0 {
			return p.endHead()
		}
		return false, p.readHeader(line)
	case inChunkSize:
		return false, p.readChunkSize(line)
	case inChunkEnd:
		p.state = inChunkSize
		// Lines of chunks are bounded by what they come with.
		p.heads = 0
		if len(line) > 0 {
			return false, errors.New("a chunk of the reply is longer than it says")
		}
		return false, nil
	default: // inTrailers
		return len(line) == 0, nil
	}
}

// readStatus reads a line such as "HTTP/1.1 200 OK".
func (p *parser) readStatus(line []byte) error {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || (len(line) > 12 && line[12] != ' ') {
		return fmt.Errorf("%.40q is no HTTP/1 status", line)
	}
	status, ok := number(line[9:12])
	if !ok || status < 100 {
		return fmt.Errorf("%.40q is no HTTP/1 status", line)
	}
	p.status = int(status)
	p.close = line[7] == '0'
	p.length = -1
	p.state = inHeaders
	return nil
}

// readHeader reads what the end of the reply depends on. A name that is not as long as one of those
// needs no second look.
func (p *parser) readHeader(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return fmt.Errorf("%.40q is no header", line)
	}
	name := line[:colon]
	switch len(name) {
	case len("Connection"):
		if bytes.EqualFold(name, []byte("Connection")) {
			p.readConnection(value(line, colon))
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			return p.readLength(value(line, colon))
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			return p.readEncoding(value(line, colon))
		}
	case len("Inference-Header-Content-Length"):
		if bytes.EqualFold(name, []byte("Inference-Header-Content-Length")) {
			return p.readHeadLength(value(line, colon))
		}
	}
	return nil
}

func value(line []byte, colon int) []byte { return bytes.Trim(line[colon+1:], " \t") }

func (p *parser) readConnection(v []byte) {
	if bytes.EqualFold(v, []byte("close")) {
		p.close = true
	} else if bytes.EqualFold(v, []byte("keep-alive")) {
		p.close = false
	}
}

func (p *parser) readLength(v []byte) error {
	n, ok := number(v)
	if !ok || (p.length >= 0 && p.length != n) {
		return fmt.Errorf("Content-Length %.20q makes no sense", v)
	}
	if n > maxReply {
		return fmt.Errorf("the reply has %d bytes, at most %d are read", n, maxReply)
	}
	p.length = n
	return nil
}

func (p *parser) readEncoding(v []byte) error {
	if !bytes.EqualFold(v, []byte("chunked")) {
		return fmt.Errorf("Transfer-Encoding %.20q is not known, only chunked is", v)
	}
	p.chunks = true
	return nil
}

func (p *parser) readHeadLength(v []byte) error {
	n, ok := number(v)
	if !ok || n > maxReply {
		return fmt.Errorf("Inference-Header-Content-Length %.20q makes no sense", v)
	}
	p.head = int(n)
	return nil
}

// endHead decides how the body ends.
func (p *parser) endHead() (done bool, err error) {
	switch {
	case p.status < 200 && p.status != 101:
		// An interim reply: the one that counts follows.
		*p = parser{line: p.line, body: p.body, keep: p.keep, heads: p.heads, length: -1}
	case p.status == 101:
		return false, errors.New("the server wants to switch protocols")
	case p.status == 204 || p.status == 304:
		return true, nil
	case p.chunks:
		p.state, p.heads = inChunkSize, 0
	case p.length == 0:
		return true, nil
	case p.length > 0:
		p.state, p.left = inBody, p.length
	default:
		p.state, p.close = toClose, true
	}
	return false, nil
}

func (p *parser) readChunkSize(line []byte) error {
	if semicolon := bytes.IndexByte(line, ';'); semicolon >= 0 {
		line = line[:semicolon]
	}
	line = bytes.TrimRight(line, " \t")
	if len(line) == 0 || len(line) > 15 {
		return fmt.Errorf("%.20q is no size of a chunk", line)
	}
	p.left, p.state = 0, inChunk
	for _, c := range line {
		digit := strings.IndexByte("0123456789abcdef", c|0x20)
		if digit < 0 {
			return fmt.Errorf("%.20q is no size of a chunk", line)
		}
		p.left = p.left<<4 | int64(digit)
	}
	if p.left == 0 {
		p.state = inTrailers
	}
	return nil
}

// number reads decimal digits.
func number(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
