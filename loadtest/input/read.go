package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/thrumserve/thrum/loadtest/oip"
)

// maxBytes bounds what is read or generated, all of which is held.
const maxBytes = 1 << 30

// Read reads requests from a file: JSON ones, one after the other; requests with binary tensors,
// each right after its JSON; a golden set; captured ones; arrays in .npz or .npy, of which every
// row is a request. Of a folder it reads the captures in it, or the golden set of the version or
// model that it holds. head, if it is not 0, says that the file is one request with so many bytes
// of JSON before the binary tensors.
func Read(path string, head int) (*Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	}
	if info.IsDir() {
		return readFolder(path)
	}
	data, err := readFile(path, maxBytes)
	if err != nil {
		return nil, err
	}
	s := &Set{Source: path}
	switch {
	case head > 0:
		err = s.addBinary(data, head)
	case bytes.HasPrefix(data, []byte(captureMagic)):
		err = s.addCapture(data)
	case bytes.HasPrefix(data, []byte(zipMagic)):
		err = s.addArchive(data)
	case bytes.HasPrefix(data, []byte(arrayMagic)):
		err = s.addArrays(map[string][]byte{trimExt(path): data})
	default:
		err = s.addJSON(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s.finish()
}

func trimExt(path string) string {
	name := filepath.Base(path)
	return name[:len(name)-len(filepath.Ext(name))]
}

func readFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s: not a regular file of at most %d bytes: take a part of it", path, most)
	}
	return os.ReadFile(path)
}

func readFolder(folder string) (*Set, error) {
	captures, err := filepath.Glob(filepath.Join(escape(folder), "*"+captureSuffix))
	if err != nil {
		return nil, err
	}
	if len(captures) > 0 {
		return readCaptures(folder, captures)
	}
	path, err := goldenIn(folder)
	if err != nil {
		return nil, err
	}
	return Read(path, 0)
}

// escape returns a pattern that matches path alone.
func escape(path string) string {
	var pattern []rune
	for _, ch := range path {
		if ch == '*' || ch == '?' || ch == '[' || ch == '\\' {
			pattern = append(pattern, '\\')
		}
		pattern = append(pattern, ch)
	}
	return string(pattern)
}

// goldenFile is the name of a golden set in a version's folder.
const goldenFile = "golden.json"

// goldenIn returns the golden set of a version's folder, or of the highest version that has one in
// a model's.
func goldenIn(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", fmt.Errorf("inputs: %w", err)
	}
	var versions []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && exists(filepath.Join(folder, e.Name(), goldenFile)) {
			versions = append(versions, n)
		}
	}
	switch path := filepath.Join(folder, goldenFile); {
	case exists(path):
		return path, nil
	case len(versions) > 0:
		return filepath.Join(folder, strconv.Itoa(slices.Max(versions)), goldenFile), nil
	}
	inside, err := filepath.Glob(filepath.Join(escape(folder), "*", "*"+captureSuffix))
	if err == nil && len(inside) > 0 {
		return "", fmt.Errorf("inputs: %s holds folders of captured requests: take one of them, such as %s", folder, filepath.Dir(inside[0]))
	}
	return "", fmt.Errorf("inputs: %s holds no *%s and no golden set (%s)", folder, captureSuffix, goldenFile)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func (s *Set) addBinary(body []byte, head int) error {
	r, err := oip.DecodeRequest(body, head)
	s.Cases = append(s.Cases, Case{Request: r})
	return err
}

// addJSON reads one JSON value after the other.
func (s *Set) addJSON(data []byte) error {
	for at := 0; ; {
		at += len(data[at:]) - len(bytes.TrimLeft(data[at:], " \t\r\n"))
		if at == len(data) {
			return nil
		}
		n, err := s.addValue(data[at:])
		if err != nil {
			return fmt.Errorf("request %d, at byte %d: %w", len(s.Cases)+1, at, err)
		}
		at += n
	}
}

// addValue reads a request or a golden set and returns how many bytes it takes.
func (s *Set) addValue(data []byte) (int, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	var value json.RawMessage
	if err := d.Decode(&value); err != nil {
		return 0, fmt.Errorf("neither JSON nor another form of requests: %w", err)
	}
	n := int(d.InputOffset())
	var shape struct {
		Cases  json.RawMessage
		Inputs []struct {
			Parameters struct {
				Size *int `json:"binary_data_size"`
			}
		}
	}
	if err := json.Unmarshal(value, &shape); err != nil {
		return n, err
	}
	if shape.Cases != nil {
		return n, s.addGolden(value)
	}
	binary, head := 0, 0
	for _, in := range shape.Inputs {
		if in.Parameters.Size != nil {
			head = n
			binary += max(0, min(*in.Parameters.Size, len(data)))
		}
	}
	if binary > len(data)-n {
		return n, fmt.Errorf("%d bytes of binary tensors are announced, %d follow the JSON", binary, len(data)-n)
	}
	return n + binary, s.addBinary(data[:n+binary], head)
}

// addGolden reads a golden set.
func (s *Set) addGolden(text []byte) error {
	var golden struct {
		Tolerance oip.Tolerance
		Cases     []struct {
			Name            string
			Inputs, Outputs json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		return err
	}
	s.Tolerance = golden.Tolerance
	for _, c := range golden.Cases {
		in, err := oip.DecodeRequest(member("inputs", c.Inputs), 0)
		if err != nil {
			return fmt.Errorf("golden case %q: %w", c.Name, err)
		}
		out, err := oip.DecodeResponse(member("outputs", c.Outputs), 0)
		if err != nil {
			return fmt.Errorf("golden case %q: %w", c.Name, err)
		}
		s.Cases = append(s.Cases, Case{Name: c.Name, Request: in, Want: out.Outputs})
	}
	return nil
}

// member returns an object of one key.
func member(key string, value json.RawMessage) []byte {
	if value == nil {
		return []byte("{}")
	}
	return fmt.Appendf(nil, `{%q:%s}`, key, value)
}
