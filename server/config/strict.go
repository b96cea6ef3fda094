package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file, which is read whole.
const maxFile = 1 << 20

// readStrict fills into, a pointer to a struct with yaml tags, from the file. A key that the
// struct does not have is an error that names file, line, key and the nearest key there is.
func readStrict(path string, into any) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return fmt.Errorf("%s: not a regular file of at most %d bytes", path, maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := decodeStrict(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func decodeStrict(text []byte, into any) error {
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil // an empty file sets nothing
	} else if err != nil {
		return err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document: keep the first")
	}
	if err := checkKeys(doc.Content[0], reflect.TypeOf(into).Elem(), ""); err != nil {
		return err
	}
	return doc.Decode(into)
}

func checkKeys(node *yaml.Node, t reflect.Type, path string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshalerType) {
		return nil
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s must hold keys and values", node.Line, orTop(path))
	}
	fields := yamlFields(t)
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		field, ok := fields[key.Value]
		if !ok {
			return fmt.Errorf("line %d: unknown key %q%s: %s", key.Line, key.Value, inside(path), suggest(key.Value, fields))
		}
		if value.Kind == yaml.ScalarNode && value.Tag == "!!null" && value.Value != "" { // such as the backend of that name
			return fmt.Errorf("line %d: %s: %s is no value in YAML: put it in quotes if it is a word, or leave the key out", value.Line, join(path, key.Value), value.Value)
		}
		if err := checkKeys(value, field, join(path, key.Value)); err != nil {
			return err
		}
	}
	return nil
}

var unmarshalerType = reflect.TypeFor[yaml.Unmarshaler]()

func yamlFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	return fields
}

func suggest(key string, fields map[string]reflect.Type) string {
	var known []string
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(key, a) - distance(key, b) })
	if distance(key, nearest) <= max(2, len(key)/3) {
		return fmt.Sprintf("did you mean %q?", nearest)
	}
	return "known keys are " + strings.Join(known, ", ")
}

// distance is Levenshtein's edit distance between a and b, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func orTop(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}
