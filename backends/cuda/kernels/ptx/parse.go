package ptx

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// entry returns a kernel, which it reads if nobody has before.
func (m *Module) entry(name string) (*entry, error) {
	if e := m.entries[name]; e != nil {
		return e, nil
	}
	text, ok := m.text[name]
	if !ok {
		return nil, fmt.Errorf("no kernel of that name")
	}
	head, body, ok := strings.Cut(text, "\n{")
	if !ok {
		return nil, fmt.Errorf("no body")
	}
	p := &parser{module: m, entry: &entry{name: name, special: map[string]int{}}, symbols: maps.Clone(m.symbols),
		names: map[string]bank{}, labels: map[string]int{}, known: map[uint64]int{}, next: guard}
	if err := p.head(head); err != nil {
		return nil, err
	}
	for _, s := range m.arrays {
		if err := p.array(s); err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
	}
	for _, s := range statements(body, m.line[name]+strings.Count(head, "\n")+1) {
		p.line, p.text = s.line, s.text
		if err := p.statement(s.text); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", s.line, s.text, err)
		}
	}
	for i := range p.entry.code {
		if in := &p.entry.code[i]; in.kind == branch {
			at, ok := p.labels[in.label]
			if !ok || at == len(p.entry.code) {
				return nil, fmt.Errorf("line %d: no label %s", in.line, in.label)
			}
			in.target = at
		}
	}
	if n := len(p.entry.code); n == 0 || p.entry.code[n-1].kind != leave && p.entry.code[n-1].kind != branch || p.entry.code[n-1].guard >= 0 {
		return nil, fmt.Errorf("the code may run past its end")
	}
	m.entries[name] = p.entry
	return p.entry, nil
}

// parser reads one kernel.
type parser struct {
	module  *Module
	entry   *entry
	symbols map[string]variable
	names   map[string]bank
	labels  map[string]int
	known   map[uint64]int // registers of constants
	next    uint64         // where the next variable in shared memory may begin

	line int
	text string
}

// bank is registers of one name.
type bank struct{ first, count, width int }

func (p *parser) head(text string) error {
	text, directives, ok := strings.Cut(text, "\n)")
	if !ok {
		return fmt.Errorf("no end of the parameters")
	}
	size := uint64(0)
	for _, s := range strings.Split(text, ",") {
		s = strings.TrimSpace(s)
		v := parameter.FindStringSubmatch(s)
		if v == nil {
			return fmt.Errorf("a parameter that is not known: %q", s)
		}
		width, _ := strconv.Atoi(v[3])
		bytes, align := width/8, width/8
		if v[5] != "" {
			n, _ := strconv.Atoi(v[5])
			bytes *= n
		}
		if v[1] != "" {
			align, _ = strconv.Atoi(v[1])
		}
		size = (size + uint64(align) - 1) &^ (uint64(align) - 1)
		at := variable{space: paramSpace, address: size, size: bytes}
		p.symbols[v[4]] = at
		p.entry.parameters = append(p.entry.parameters, at)
		size += uint64(bytes)
	}
	v := threads.FindStringSubmatch(directives)
	if v == nil {
		return fmt.Errorf("no .maxntid")
	}
	p.entry.threads = 1
	for _, n := range v[1:] {
		dimension, _ := strconv.ParseUint(n, 10, 32)
		p.entry.threads *= dimension
	}
	return nil
}

// array declares memory of a block or of a thread.
func (p *parser) array(s string) error {
	v := array.FindStringSubmatch(s)
	size, _ := strconv.Atoi(v[4]) // 0 for dynamic shared memory
	align, _ := strconv.ParseUint(v[2], 10, 32)
	if size > math.MaxUint16 || bits.OnesCount64(align) != 1 {
		return fmt.Errorf("a size or an alignment that is none")
	}
	if v[1] == "local" {
		at := (uint64(p.entry.local) + align - 1) &^ (align - 1)
		p.symbols[v[3]] = variable{space: localSpace, address: at, size: size}
		p.entry.local = int(at) + size
		return nil
	}
	at := variable{space: sharedSpace, address: dynamicBase}
	if size > 0 {
		at.address, at.size = (p.next+align-1)&^(align-1), size
		p.next = at.address + uint64(size) + guard
	}
	p.symbols[v[3]] = at
	return nil
}

func (p *parser) statement(s string) error {
	switch {
	case strings.HasSuffix(s, ":"):
		name := strings.TrimSuffix(s, ":")
		if _, ok := p.labels[name]; ok {
			return fmt.Errorf("a second one")
		}
		p.labels[name] = len(p.entry.code)
		return nil
	case strings.HasPrefix(s, ".pragma "):
		return nil
	case array.MatchString(s):
		return p.array(s)
	case strings.HasPrefix(s, ".reg "):
		return p.registers(s)
	}
	return p.instruction(s)
}

func (p *parser) registers(s string) error {
	v := registers.FindStringSubmatch(s)
	if v == nil {
		return fmt.Errorf("not a declaration of registers")
	}
	b := bank{first: p.entry.registers, count: 1, width: 1}
	if v[1] != "pred" {
		b.width, _ = strconv.Atoi(v[1][1:])
	}
	if v[3] != "" {
		b.count, _ = strconv.Atoi(v[3])
	}
	if b.count > math.MaxUint16 {
		return fmt.Errorf("too many registers")
	}
	p.names[v[2]] = b
	p.entry.registers += b.count
	return nil
}

// instruction appends one, or two where one takes two registers apart.
func (p *parser) instruction(s string) error {
	in := instruction{line: p.line, text: p.text, guard: -1, group: -1}
	if strings.HasPrefix(s, "@") {
		name, rest, _ := strings.Cut(s[1:], " ")
		in.negated = strings.HasPrefix(name, "!")
		r, err := p.register(strings.TrimPrefix(name, "!"), 1)
		if err != nil {
			return err
		}
		in.guard, s = r, rest
	}
	op, rest, _ := strings.Cut(s, " ")
	return p.decode(in, strings.Split(op, "."), split(rest))
}

// split parts operands at commas that are not within brackets.
func split(s string) []string {
	var all []string
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				all = append(all, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	if last := strings.TrimSpace(s[from:]); last != "" {
		all = append(all, last)
	}
	return all
}

// register returns a register of that width in bits, or of at least so many if it is negative; 0 is any.
func (p *parser) register(name string, width int) (int, error) {
	b, ok := p.names[name]
	number := 0
	if !ok {
		letters := strings.TrimRight(name, "0123456789")
		b = p.names[letters]
		n, err := strconv.Atoi(name[len(letters):])
		if err != nil || n >= b.count {
			return 0, fmt.Errorf("no register %s", name)
		}
		number = n
	}
	if width > 0 && b.width != width || width < 0 && b.width < -width {
		return 0, fmt.Errorf("register %s has %d bits, not %d", name, b.width, width)
	}
	return b.first + number, nil
}

var specials = []string{"%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z", "%ctaid.x", "%ctaid.y", "%ctaid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z"}

// source returns the register of an operand: a register, a special one, a number or an address.
func (p *parser) source(s string, width int) (int, error) {
	if slices.Contains(specials, s) {
		r, ok := p.entry.special[s]
		if !ok {
			r = p.entry.registers
			p.entry.registers++
			p.entry.special[s] = r
		}
		return r, nil
	}
	if strings.HasPrefix(s, "%") {
		return p.register(s, width)
	}
	v, err := p.number(s)
	return p.constant(v), err
}

func (p *parser) constant(v uint64) int {
	r, ok := p.known[v]
	if !ok {
		r = p.entry.registers
		p.entry.registers++
		p.known[v] = r
		p.entry.constants = append(p.entry.constants, constant{r, v})
	}
	return r
}

func (p *parser) number(s string) (uint64, error) {
	if v, ok := p.symbols[s]; ok {
		used := func(u variable) bool { return u.address == v.address }
		if v.space == sharedSpace && v.size > 0 && !slices.ContainsFunc(p.entry.shared, used) {
			p.entry.shared = append(p.entry.shared, v)
		}
		return v.address, nil
	}
	if strings.HasPrefix(s, "0f") && len(s) == 10 || strings.HasPrefix(s, "0d") && len(s) == 18 {
		return strconv.ParseUint(s[2:], 16, 64)
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		u, uerr := strconv.ParseUint(s, 10, 64)
		if uerr != nil || u <= math.MaxInt64 {
			return 0, fmt.Errorf("neither a number nor a name: %s", s)
		}
		return u, nil
	}
	return uint64(v), nil
}

// vector returns the registers between braces, or that of a single operand, as one finds each.
func (p *parser) vector(s string, width int, one func(string, int) (int, error)) ([]int, error) {
	parts := []string{s}
	if strings.HasPrefix(s, "{") {
		parts = strings.Split(strings.Trim(s, "{}"), ",")
	}
	var all []int
	for _, part := range parts {
		r, err := one(strings.TrimSpace(part), width)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// place returns what stands between square brackets: a register and what is added to it.
func (p *parser) place(s string) (register int, offset uint64, err error) {
	if !strings.HasPrefix(s, "[") || !strings.HasSuffix(s, "]") {
		return 0, 0, fmt.Errorf("not an address: %s", s)
	}
	base, add, sum := strings.Cut(s[1:len(s)-1], "+")
	if sum {
		n, err := strconv.ParseInt(add, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		offset = uint64(n)
	}
	register, err = p.source(base, 0)
	return register, offset, err
}

// mask returns the bits that a register has.
func (p *parser) mask(register int) uint64 {
	for _, b := range p.names {
		if register >= b.first && register < b.first+b.count {
			return 1<<b.width - 1
		}
	}
	return 1<<64 - 1
}
