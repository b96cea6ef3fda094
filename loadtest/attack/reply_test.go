package attack

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// read feeds text in pieces of a size. An end of the connection follows.
func read(text string, size int) (p parser, rest string, err error) {
	p.reset(true)
	for b := []byte(text); len(b) > 0; {
		n := min(size, len(b))
		left, done, err := p.feed(b[:n])
		if done || err != nil {
			return p, string(left) + string(b[n:]), err
		}
		b = b[n:]
	}
	if p.end() {
		return p, "", nil
	}
	return p, "", io.ErrUnexpectedEOF
}

func TestParserReadsReplies(t *testing.T) {
	for _, c := range []struct {
		name, text string
		status     int
		body       string
		head       int
		close      bool
		rest       string
	}{
		{"with a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", 0, false, ""},
		{"with more behind it", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP", 200, "hello", 0, false, "HTTP"},
		{"without a body", "HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", 200, "", 0, false, ""},
		{"binary", "HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}\x00", 200, "{}\x00", 2, false, ""},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", 0, false, ""},
		{"no reason", "HTTP/1.1 429\r\nContent-Length: 1\r\n\r\nx", 429, "x", 0, false, ""},
		{"the last one", "HTTP/1.1 503 Busy\r\nConnection: Close\r\nContent-Length: 1\r\n\r\nx", 503, "x", 0, true, ""},
		{"of HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", 0, true, ""},
		{"of HTTP/1.0 that stays", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", 200, "x", 0, false, ""},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello", 0, true, ""},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, world...\r\n0\r\nTrailer: x\r\n\r\n", 200, "hello, world...", 0, false, ""},
		{"in chunks, whatever the length says", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "", 0, false, ""},
		{"after an interim one", "HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", 0, false, ""},
		{"with bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", 200, "x", 0, false, ""},
		{"with the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 200, "x", 0, false, ""},
	} {
		for _, size := range []int{1, 2, 7, 1000} {
			p, rest, err := read(c.text, size)
			if err != nil || p.status != c.status || string(p.body) != c.body || p.head != c.head || p.close != c.close || rest != c.rest {
				t.Errorf("%s, %d bytes at a time: status %d, body %q, head %d, close %v, rest %q, error %v", c.name, size,
					p.status, p.body, p.head, p.close, rest, err)
			}
		}
	}
}

func TestParserRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"another protocol", "SSH-2.0-OpenSSH_9.2\r\n", "no HTTP/1 status"},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n", "no HTTP/1 status"},
		{"a status without digits", "HTTP/1.1 2x0 OK\r\n", "no HTTP/1 status"},
		{"a status of four digits", "HTTP/1.1 2000 OK\r\n", "no HTTP/1 status"},
		{"a status below 100", "HTTP/1.1 099 OK\r\n", "no HTTP/1 status"},
		{"an empty line first", "\r\nHTTP/1.1 200 OK\r\n", "no HTTP/1 status"},
		{"a line that is no header", "HTTP/1.1 200 OK\r\nhello\r\n", "no header"},
		{"a header without a name", "HTTP/1.1 200 OK\r\n: x\r\n", "no header"},
		{"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n", "Content-Length"},
		{"an empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n", "Content-Length"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "Content-Length"},
		{"too long a body", "HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n", "at most 67108864"},
		{"a length beyond 64 bits", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n", "Content-Length"},
		{"an unknown encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", "only chunked"},
		{"a chunk without a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "no size"},
		{"a chunk of no size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "no size"},
		{"a chunk of too many digits", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "no size"},
		{"a chunk that is too long", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", "longer than it says"},
		{"other protocols", "HTTP/1.1 101 Switching\r\n\r\n", "switch"},
		{"a head for ever", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead), "longer than 65536"},
		{"headers for ever", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", maxHead/5), "longer than 65536"},
		{"interim ones for ever", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxHead/20), "longer than 65536"},
		{"trailers for ever", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", maxHead/5), "longer than 65536"},
		{"a head length beyond all", "HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 999999999\r\n", "Inference-Header"},
	} {
		for _, size := range []int{1, 1000} {
			if _, _, err := read(c.text, size); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %d bytes at a time: error %v, want one with %q", c.name, size, err, c.want)
			}
		}
	}
}

func TestParserBoundsABodyWithoutALength(t *testing.T) {
	var p parser
	p.reset(false)
	text := []byte("HTTP/1.1 200 OK\r\n\r\n")
	piece := make([]byte, 1<<20)
	var err error
	for sent := 0; err == nil && sent <= maxReply+len(piece); sent += len(text) {
		_, _, err = p.feed(text)
		text = piece
	}
	if err == nil || !strings.Contains(err.Error(), "longer than") || len(p.body) > 0 {
		t.Errorf("error %v with %d bytes kept, want one at %d bytes with none", err, len(p.body), maxReply)
	}
}

func TestParserMissesTheEnd(t *testing.T) {
	for _, text := range []string{"", "HTTP", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"} {
		if _, _, err := read(text, 5); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: error %v, want that its end is missing", text, err)
		}
	}
}

func TestParserKeepsOnlyWhatIsAskedFor(t *testing.T) {
	text := "HTTP/1.1 %s OK\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000)
	for status, want := range map[string]int{"200": 0, "400": enough} {
		var p parser
		p.reset(false)
		if _, done, err := p.feed([]byte(strings.Replace(text, "%s", status, 1))); !done || err != nil || len(p.body) != want {
			t.Errorf("status %s: %d bytes are kept, want %d (%v, %v)", status, len(p.body), want, done, err)
		}
	}
}

// FuzzParser reads anything in two ways, which agree with each other and, where it is a reply by the
// letter, with net/http.
func FuzzParser(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\n\r\nwhat",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
	} {
		f.Add(seed, uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		whole, rest, err := read(text, len(text)+1)
		pieces, left, err2 := read(text, int(size)+1)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("whole: error %v, in pieces of %d: %v", err, int(size)+1, err2)
		}
		if err != nil {
			return
		}
		if whole.status != pieces.status || !bytes.Equal(whole.body, pieces.body) || whole.close != pieces.close || rest != left {
			t.Fatalf("whole: %+v and %q left, in pieces of %d: %+v and %q left", whole, rest, int(size)+1, pieces, left)
		}
		theirs, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), &http.Request{Method: "POST"})
		if err != nil || theirs.StatusCode != whole.status || !theirs.ProtoAtLeast(1, 1) {
			return // they are stricter, give out interim replies, and know no chunks of HTTP/1.0
		}
		body, err := io.ReadAll(theirs.Body)
		if err == nil && !bytes.Equal(body, whole.body) {
			t.Fatalf("body %q, of net/http %q", whole.body, body)
		}
	})
}
