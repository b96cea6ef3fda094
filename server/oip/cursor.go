package oip

import (
	"bytes"
	"unicode/utf8"

	"github.com/thrumserve/thrum/backends"
)

// maxDepth bounds how deeply arrays and objects that are skipped may nest.
const maxDepth = 64

// cursor walks over JSON text (RFC 8259) without building anything.
type cursor struct {
	text []byte
	at   int
}

// skipSpace returns the index of the first byte at or after i that is not white space.
func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
		i++
	}
	return i
}

// peek returns the next byte that is not white space, or 0 at the end.
func (c *cursor) peek() byte {
	c.at = skipSpace(c.text, c.at)
	if c.at == len(c.text) {
		return 0
	}
	return c.text[c.at]
}

// take consumes want if it comes next.
func (c *cursor) take(want byte) bool {
	if c.peek() != want {
		return false
	}
	c.at++
	return true
}

// null consumes a null if it comes next.
func (c *cursor) null() bool {
	return c.peek() == 'n' && c.word("null")
}

func (c *cursor) word(want string) bool {
	if !bytes.HasPrefix(c.text[c.at:], []byte(want)) {
		return false
	}
	c.at += len(want)
	return true
}

// malformed reports what stands at the cursor in place of what was expected.
func (c *cursor) malformed(expected string) error {
	if c.peek() == 0 && c.at == len(c.text) {
		return backends.Errorf(backends.ErrInvalid, "the JSON ends at byte %d where %s was expected", c.at, expected)
	}
	return backends.Errorf(backends.ErrInvalid, "malformed JSON at byte %d: %s where %s was expected", c.at, c.token(c.at), expected)
}

// maxToken bounds how much of a client's text an error quotes.
const maxToken = 24

// token returns the text of the value at i, cut short, for an error.
func (c *cursor) token(i int) string {
	rest := c.text[i:]
	end := bytes.IndexAny(rest, ",]}: \t\r\n")
	if end <= 0 {
		end = min(len(rest), 1)
	}
	if end > maxToken {
		return string(bytes.ToValidUTF8(rest[:maxToken], nil)) + "..."
	}
	return string(bytes.ToValidUTF8(rest[:end], []byte("?")))
}

// object calls field for every key of the object that comes next, with the cursor before the
// value; field must consume the value.
func (c *cursor) object(field func(key []byte) error) error {
	if !c.take('{') {
		return c.malformed("an object")
	}
	if c.take('}') {
		return nil
	}
	for {
		key, err := c.str()
		if err != nil {
			return err
		}
		if !c.take(':') {
			return c.malformed("a ':'")
		}
		if err := field(key); err != nil {
			return err
		}
		if c.take('}') {
			return nil
		}
		if !c.take(',') {
			return c.malformed("a ',' or '}'")
		}
	}
}

// array calls element for every element of the array that comes next, with the cursor before
// it; element must consume it.
func (c *cursor) array(element func(i int) error) error {
	if !c.take('[') {
		return c.malformed("an array")
	}
	if c.take(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := element(i); err != nil {
			return err
		}
		if c.take(']') {
			return nil
		}
		if !c.take(',') {
			return c.malformed("a ',' or ']'")
		}
	}
}

// str consumes a string and returns its bytes, which alias the text unless it has escapes.
func (c *cursor) str() ([]byte, error) {
	if c.peek() != '"' {
		return nil, c.malformed("a string")
	}
	end := plainEnd(c.text, c.at+1)
	if end < len(c.text) && c.text[end] == '"' && utf8.Valid(c.text[c.at+1:end]) {
		s := c.text[c.at+1 : end]
		c.at = end + 1
		return s, nil
	}
	s, next, err := appendUnquoted(nil, c.text, c.at)
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "malformed JSON string at byte %d: %w", c.at, err)
	}
	c.at = next
	return s, nil
}

// maxName bounds the names that a request brings, which errors quote in full.
const maxName = 1024

// name consumes a string that is a name.
func (c *cursor) name() (string, error) {
	start := c.at
	name, err := c.str()
	if err == nil && len(name) > maxName {
		err = backends.Errorf(backends.ErrInvalid, "the name at byte %d is longer than %d bytes", start, maxName)
	}
	return string(name), err
}

// skip consumes any value and reports whether it is well formed. depth counts the arrays and
// objects around it.
func (c *cursor) skip(depth int) error {
	if depth > maxDepth {
		return backends.Errorf(backends.ErrInvalid, "the JSON nests deeper than %d at byte %d", maxDepth, c.at)
	}
	switch ch := c.peek(); {
	case ch == '{':
		return c.object(func([]byte) error { return c.skip(depth + 1) })
	case ch == '[':
		return c.array(func(int) error { return c.skip(depth + 1) })
	case ch == '"':
		_, err := c.str()
		return err
	case ch == '-' || '0' <= ch && ch <= '9':
		_, next := scanDecimal(c.text, c.at)
		if next < 0 {
			return c.malformed("a number")
		}
		c.at = next
		return nil
	case c.word("true") || c.word("false") || c.word("null"):
		return nil
	}
	return c.malformed("a value")
}
