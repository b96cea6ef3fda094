package ptx

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var errUnknown = errors.New("an instruction that is not known")

// kindOf is a type of PTX: a letter and its bits. B is bf16 and T is tf32, p a predicate.
type kindOf struct {
	letter byte
	bits   int
}

var types = map[string]kindOf{"pred": {'p', 1}, "b16": {'b', 16}, "b32": {'b', 32}, "b64": {'b', 64},
	"u8": {'u', 8}, "u16": {'u', 16}, "u32": {'u', 32}, "u64": {'u', 64}, "s8": {'s', 8}, "s16": {'s', 16}, "s32": {'s', 32}, "s64": {'s', 64},
	"f16": {'f', 16}, "f32": {'f', 32}, "f64": {'f', 64}, "bf16": {'B', 16}, "tf32": {'T', 32}}

func typeOf(s string) (kindOf, error) {
	t, ok := types[s]
	if !ok {
		return kindOf{}, errUnknown
	}
	return t, nil
}

// cut leaves the bits of a type.
func (t kindOf) cut(v uint64) uint64 { return v & (1<<t.bits - 1) }

// decode appends the instruction of an operation and its operands.
func (p *parser) decode(in instruction, op, args []string) error {
	if n, ok := map[string]int{"bra": 1, "ret": 0, "ld": 2, "st": 2, "mov": 2}[op[0]]; ok && len(args) != n {
		return fmt.Errorf("%d operands, want %d", len(args), n)
	}
	switch op[0] {
	case "bra":
		in.kind, in.label = branch, args[0]
		if !is(op, "bra") && !is(op, "bra.uni") {
			return errUnknown
		}
	case "ret":
		in.kind = leave
		if !is(op, "ret") {
			return errUnknown
		}
	case "ld":
		return p.memory(in, op[1:], args, false)
	case "st":
		return p.memory(in, op[1:], []string{args[1], args[0]}, true)
	case "shfl":
		return p.shuffle(in, op, args)
	case "bar":
		return p.barrier(in, op, args)
	case "cp":
		return p.copy(in, op, args)
	case "ldmatrix":
		return p.matrices(in, op, args)
	case "mma":
		return p.multiply(in, op, args)
	case "bfi":
		return p.insert(in, op, args)
	case "mov":
		if strings.HasPrefix(args[0], "{") || strings.HasPrefix(args[1], "{") {
			return p.pieces(in, op, args)
		}
		return p.compute(in, op, args)
	default:
		return p.compute(in, op, args)
	}
	p.entry.code = append(p.entry.code, in)
	return nil
}

// is says whether an operation has those modifiers.
func is(op []string, modifiers string) bool { return strings.Join(op, ".") == modifiers }

// sources returns registers of operands, of the same width each.
func (p *parser) sources(width int, args ...string) ([]int, error) {
	var all []int
	for _, a := range args {
		r, err := p.source(a, width)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// compute appends an instruction that computes a register of up to three.
func (p *parser) compute(in instruction, op, args []string) error {
	f, widths, err := lookup(op)
	if err != nil {
		return err
	}
	if len(args) != len(widths) {
		return fmt.Errorf("%d operands, want %d", len(args), len(widths))
	}
	in.pure, in.move = f, op[0] == "mov"
	in.a = p.constant(0)
	in.b, in.c = in.a, in.a
	if in.d, err = p.register(args[0], widths[0]); err != nil {
		return err
	}
	for i, to := range []*int{&in.a, &in.b, &in.c}[:len(args)-1] {
		if *to, err = p.source(args[1+i], widths[1+i]); err != nil {
			return err
		}
	}
	p.entry.code = append(p.entry.code, in)
	return nil
}

// pieces appends what puts two registers together, or takes one apart.
func (p *parser) pieces(in instruction, op, args []string) error {
	t, err := typeOf(op[len(op)-1])
	if err != nil || len(op) != 2 || t.bits < 32 {
		return errUnknown
	}
	half := t.bits / 2
	mask := uint64(1)<<half - 1
	if strings.HasPrefix(args[1], "{") {
		to, err := p.register(args[0], t.bits)
		if err != nil {
			return err
		}
		from, err := p.vector(args[1], half, p.source)
		if err != nil || len(from) != 2 {
			return errors.Join(err, errUnknown)
		}
		in.d, in.a, in.b, in.c = to, from[0], from[1], from[1]
		in.pure = func(a, b, _ uint64) uint64 { return a&mask | b&mask<<half }
		p.entry.code = append(p.entry.code, in)
		return nil
	}
	to, err := p.vector(args[0], half, p.register)
	if err != nil || len(to) != 2 {
		return errors.Join(err, errUnknown)
	}
	from, err := p.source(args[1], t.bits)
	if err != nil {
		return err
	}
	for i, r := range to {
		in.d, in.a, in.b, in.c = r, from, from, from
		in.pure = func(a, _, _ uint64) uint64 { return a >> (half * i) & mask }
		p.entry.code = append(p.entry.code, in)
	}
	return nil
}

// insert appends what puts bits of one register among those of another, at a place that is a number.
func (p *parser) insert(in instruction, op, args []string) error {
	t, err := typeOf(op[len(op)-1])
	if err != nil || len(op) != 2 || t.letter != 'b' || len(args) != 5 {
		return errors.Join(err, errUnknown)
	}
	from, err1 := strconv.Atoi(args[3])
	n, err2 := strconv.Atoi(args[4])
	all, err3 := p.sources(t.bits, args[1:3]...)
	d, err4 := p.register(args[0], t.bits)
	if err := errors.Join(err1, err2, err3, err4); err != nil || from < 0 || n < 0 || from+n > t.bits {
		return errors.Join(err, errUnknown)
	}
	mask := uint64(1<<n-1) << from
	in.d, in.a, in.b, in.c = d, all[0], all[1], all[1]
	in.pure = func(a, b, _ uint64) uint64 { return t.cut(a<<from&mask | b&^mask) }
	p.entry.code = append(p.entry.code, in)
	return nil
}
