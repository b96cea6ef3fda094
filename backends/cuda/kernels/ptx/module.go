package ptx

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Module is a file of PTX.
type Module struct {
	text    map[string]string // of an entry, from its parameters to its end
	line    map[string]int
	symbols map[string]variable // global ones
	arrays  []string            // declarations of memory that each block has
	entries map[string]*entry   // those that have been launched
}

// variable is memory that has a name.
type variable struct {
	space   space
	address uint64
	size    int
	data    []byte // of a global one
}

// entry is a kernel.
type entry struct {
	name      string
	code      []instruction
	registers int
	constants []constant // registers that nobody writes
	special   map[string]int
	threads   uint64 // the most of a block

	parameters []variable
	shared     []variable
	local      int // bytes of a thread
}

type constant struct {
	register int
	value    uint64
}

var (
	entryStart = regexp.MustCompile(`(?m)^\.visible \.entry (\w+)\(`)
	global     = regexp.MustCompile(`^\.global \.align (\d+) \.b8 (\w+)\[(\d+)\] = \{([^}]*)\}$`)
	array      = regexp.MustCompile(`^(?:\.extern )?\.(shared|local) \.align (\d+) \.b8\s+(\w+)\[(\d*)\]$`)
	parameter  = regexp.MustCompile(`^\.param (?:\.align (\d+) )?\.([busf])(8|16|32|64) (\w+)(?:\[(\d+)\])?$`)
	registers  = regexp.MustCompile(`^\.reg \.(pred|[bf]16|[bf]32|[bf]64)\s+(%\w+?)(?:<(\d+)>)?$`)
	threads    = regexp.MustCompile(`(?m)^\.maxntid (\d+), (\d+), (\d+)$`)
)

// Parse reads an image. A kernel is read when it is first launched.
func Parse(image []byte) (*Module, error) {
	text := string(bytes.TrimRight(image, "\x00"))
	m := &Module{text: map[string]string{}, line: map[string]int{}, symbols: map[string]variable{}, entries: map[string]*entry{}}
	starts := entryStart.FindAllStringSubmatchIndex(text, -1)
	if starts == nil {
		return nil, fmt.Errorf("no entry in %d bytes of PTX", len(text))
	}
	for _, s := range statements(text[:starts[0][0]], 1) {
		if err := m.declare(s.text); err != nil {
			return nil, fmt.Errorf("line %d: %w", s.line, err)
		}
	}
	line := 1 + strings.Count(text[:starts[0][0]], "\n")
	for i, s := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		name := text[s[2]:s[3]]
		m.text[name], m.line[name] = text[s[1]:end], line
		line += strings.Count(text[s[0]:end], "\n")
	}
	return m, nil
}

// Entries returns the names of all kernels, in order.
func (m *Module) Entries() []string { return slices.Sorted(maps.Keys(m.text)) }

// Text returns what follows a kernel's name.
func (m *Module) Text(name string) string { return m.text[name] }

// With returns a module that has another text for one kernel.
func (m *Module) With(name, text string) *Module {
	other := *m
	other.text, other.entries = maps.Clone(m.text), map[string]*entry{}
	other.text[name] = text
	return &other
}

// Coverage returns how many instructions of a kernel there are, and how many have been executed; zeros
// for one that has not been launched.
func (m *Module) Coverage(name string) (all, executed int) {
	if e := m.entries[name]; e != nil {
		for i := range e.code {
			if all++; e.code[i].ran {
				executed++
			}
		}
	}
	return all, executed
}

// Executed says whether an instruction on that line of a kernel's text, from 0 on, has been executed.
func (m *Module) Executed(name string, line int) bool {
	e := m.entries[name]
	return e != nil && slices.ContainsFunc(e.code, func(in instruction) bool { return in.ran && in.line == m.line[name]+line })
}

// declare reads what stands before all kernels.
func (m *Module) declare(s string) error {
	switch {
	case strings.HasPrefix(s, ".version "), strings.HasPrefix(s, ".target "), strings.HasPrefix(s, ".address_size "):
		return nil
	}
	if v := global.FindStringSubmatch(s); v != nil {
		var data []byte
		for _, field := range strings.Split(v[4], ",") {
			b, err := strconv.ParseUint(strings.TrimSpace(field), 10, 8)
			if err != nil {
				return err
			}
			data = append(data, byte(b))
		}
		if strconv.Itoa(len(data)) != v[3] {
			return fmt.Errorf("%s has %d bytes", s, len(data))
		}
		aligned := make([]byte, len(data)+16)
		aligned = aligned[-address(aligned)&15:][:len(data)]
		copy(aligned, data)
		m.symbols[v[2]] = variable{space: globalSpace, address: address(aligned), size: len(data), data: aligned}
		return nil
	}
	if array.MatchString(s) {
		m.arrays = append(m.arrays, s)
		return nil
	}
	return fmt.Errorf("a declaration that is not known: %s", s)
}

type statement struct {
	line int
	text string
}

// statements splits text without comments. Labels are statements that end in a colon.
func statements(text string, line int) []statement {
	var all []statement
	var s strings.Builder
	first := line
	end := func() {
		if t := strings.Join(strings.Fields(s.String()), " "); t != "" {
			all = append(all, statement{first, t})
		}
		s.Reset()
	}
	for row := range strings.Lines(text) {
		row, _, _ = strings.Cut(row, "//")
		directive := strings.HasPrefix(row, ".version") || strings.HasPrefix(row, ".target") || strings.HasPrefix(row, ".address_size")
		for _, c := range row {
			if s.Len() == 0 {
				first = line
				if c == ' ' || c == '\t' || c == '\n' {
					continue
				}
			}
			switch {
			case c == ';', s.Len() == 0 && (c == '{' || c == '}'):
				end()
			case c == ':':
				s.WriteByte(':')
				end()
			default:
				s.WriteRune(c)
			}
		}
		if directive {
			end()
		}
		line++
	}
	end()
	return all
}
