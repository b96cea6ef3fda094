package oip

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	errString    = errors.New("not a string")
	errUnended   = errors.New("the string does not end")
	errControl   = errors.New("a control character must be escaped")
	errEscape    = errors.New("unknown escape")
	errSurrogate = errors.New("a surrogate without its other half")
	errUTF8      = errors.New("not valid UTF-8: send it as binary data")
)

// plainEnd returns the index of the first byte at or after i that ends the plain part of a
// string: a quote, a backslash or a control character.
func plainEnd(text []byte, i int) int {
	for i < len(text) && text[i] != '"' && text[i] != '\\' && text[i] >= ' ' {
		i++
	}
	return i
}

// appendUnquoted appends the bytes that the JSON string at text[i] stands for and returns the
// index after it.
func appendUnquoted(dst, text []byte, i int) ([]byte, int, error) {
	if i >= len(text) || text[i] != '"' {
		return dst, i, errString
	}
	for i++; ; {
		end := plainEnd(text, i)
		if !utf8.Valid(text[i:end]) {
			return dst, i, errUTF8
		}
		dst = append(dst, text[i:end]...)
		switch {
		case end == len(text):
			return dst, i, errUnended
		case text[end] == '"':
			return dst, end + 1, nil
		case text[end] != '\\':
			return dst, i, errControl
		}
		var err error
		if dst, i, err = appendEscape(dst, text, end+1); err != nil {
			return dst, i, err
		}
	}
}

// appendEscape appends the character that the escape stands for whose backslash is before
// text[i].
func appendEscape(dst, text []byte, i int) ([]byte, int, error) {
	if i >= len(text) {
		return dst, i, errUnended
	}
	switch text[i] {
	case '"', '\\', '/':
		return append(dst, text[i]), i + 1, nil
	case 'b':
		return append(dst, '\b'), i + 1, nil
	case 'f':
		return append(dst, '\f'), i + 1, nil
	case 'n':
		return append(dst, '\n'), i + 1, nil
	case 'r':
		return append(dst, '\r'), i + 1, nil
	case 't':
		return append(dst, '\t'), i + 1, nil
	case 'u':
		return appendCodeUnits(dst, text, i+1)
	}
	return dst, i, errEscape
}

// appendCodeUnits appends the character given by the one or two UTF-16 code units at text[i].
func appendCodeUnits(dst, text []byte, i int) ([]byte, int, error) {
	first, ok := hex4(text, i)
	if !ok {
		return dst, i, errEscape
	}
	i += 4
	if !utf16.IsSurrogate(first) {
		return utf8.AppendRune(dst, first), i, nil
	}
	if i+2 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
		return dst, i, errSurrogate
	}
	second, ok := hex4(text, i+2)
	if !ok {
		return dst, i, errEscape
	}
	r := utf16.DecodeRune(first, second)
	if r == utf8.RuneError {
		return dst, i, errSurrogate
	}
	return utf8.AppendRune(dst, r), i + 6, nil
}

func hex4(text []byte, i int) (rune, bool) {
	if i+4 > len(text) {
		return 0, false
	}
	var r rune
	for _, ch := range text[i : i+4] {
		switch {
		case '0' <= ch && ch <= '9':
			r = r<<4 | rune(ch-'0')
		case 'a' <= ch|0x20 && ch|0x20 <= 'f':
			r = r<<4 | rune(ch|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s, which must be valid UTF-8, as a JSON string.
func appendQuoted[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	plain := 0
	for i := range len(s) {
		ch := s[i]
		if ch >= ' ' && ch != '"' && ch != '\\' {
			continue
		}
		dst = append(dst, s[plain:i]...)
		plain = i + 1
		switch ch {
		case '"', '\\':
			dst = append(dst, '\\', ch)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[ch>>4], hexDigits[ch&15])
		}
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}
