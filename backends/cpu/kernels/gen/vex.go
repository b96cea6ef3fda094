package main

import (
	bits "encoding/binary"
	"fmt"
	"strings"
)

// An instruction of AMX, none of which the Go assembler knows, is its bytes and what it is called.
type amx struct {
	text string // in the notation of Intel: the destination first
	code []byte
}

// amx writes an instruction.
func (f *file) amx(i amx) {
	var words []string
	code := i.code
	if len(code) >= 4 {
		words = append(words, fmt.Sprintf("LONG $0x%08x", bits.LittleEndian.Uint32(code)))
		code = code[4:]
	}
	for _, b := range code {
		words = append(words, fmt.Sprintf("BYTE $0x%02x", b))
	}
	fmt.Fprintf(&f.asm, "\t%s // %s\n", strings.Join(words, "; "), i.text)
}

// generalRegisters are the names of general registers by their numbers, those of the Go assembler
// and those of Intel.
var generalRegisters = []struct{ plan9, intel string }{
	{"AX", "rax"}, {"CX", "rcx"}, {"DX", "rdx"}, {"BX", "rbx"}, {"SP", "rsp"}, {"BP", "rbp"}, {"SI", "rsi"}, {"DI", "rdi"},
	{"R8", "r8"}, {"R9", "r9"}, {"R10", "r10"}, {"R11", "r11"}, {"R12", "r12"}, {"R13", "r13"}, {"R14", "r14"}, {"R15", "r15"},
}

func general(name string) byte {
	for i, r := range generalRegisters {
		if r.plan9 == name {
			return byte(i)
		}
	}
	panic("no register is called " + name)
}

func intel(name string) string { return generalRegisters[general(name)].intel }

// The parts of these instructions. A prefix is 0 for none, 1 for 66, 2 for f3 and 3 for f2.
const (
	vex      = 0xc4 // of three bytes
	map0f38  = 0xe2 // with the high bits of all register numbers zero, stored inverted
	noSource = 0x78 // no third register, stored inverted
	direct   = 0xc0 // operands are registers
)

// ldtilecfg configures the tiles from 64 bytes.
func ldtilecfg(base string) amx {
	r := general(base)
	if r&7 == 4 || r&7 == 5 || r > 7 {
		panic("ldtilecfg from " + base)
	}
	return amx{"ldtilecfg [" + intel(base) + "]", []byte{vex, map0f38, noSource, 0x49, r}}
}

func tilerelease() amx { return amx{"tilerelease", []byte{vex, map0f38, noSource, 0x49, direct}} }

func tilezero(tile int) amx {
	return amx{fmt.Sprintf("tilezero tmm%d", tile), []byte{vex, map0f38, noSource | 3, 0x49, direct | byte(tile)<<3}}
}

// A dot multiplies tiles: name dst, a, b adds the products of units of a's rows and b's columns.
type dot struct {
	name   string
	opcode byte
	prefix byte
}

var (
	tdpbf16ps = dot{"tdpbf16ps", 0x5c, 2} // pairs of bfloat16
	tdpbssd   = dot{"tdpbssd", 0x5e, 3}   // quads of bytes, signed and signed
	tdpbsud   = dot{"tdpbsud", 0x5e, 2}   // signed and unsigned
	tdpbusd   = dot{"tdpbusd", 0x5e, 1}
	tdpbuud   = dot{"tdpbuud", 0x5e, 0}
)

func (d dot) of(dst, a, b int) amx {
	return amx{
		fmt.Sprintf("%s tmm%d, tmm%d, tmm%d", d.name, dst, a, b),
		[]byte{vex, map0f38, ^byte(b)&15<<3 | d.prefix, d.opcode, direct | byte(dst)<<3 | byte(a)},
	}
}

// rowsAt is where the rows of a tile stand: at base + offset, as many bytes apart as stride holds.
type rowsAt struct {
	base, stride string
	offset       int
}

// String is the operand in Intel's notation.
func (m rowsAt) String() string {
	if m.offset == 0 {
		return fmt.Sprintf("[%s+%s*1]", intel(m.base), intel(m.stride))
	}
	return fmt.Sprintf("[%s+%s*1%+d]", intel(m.base), intel(m.stride), m.offset)
}

// encode returns the code of a tile's load or store.
func (m rowsAt) encode(prefix byte, tile int) []byte {
	base, stride := general(m.base), general(m.stride)
	if stride == 4 {
		panic("the stack pointer is no stride")
	}
	second := byte(map0f38)
	if stride > 7 {
		second &^= 0x40
	}
	if base > 7 {
		second &^= 0x20
	}
	modrm := byte(4 | tile<<3)
	var offset []byte
	switch {
	case m.offset == int(int8(m.offset)) && (m.offset != 0 || base&7 == 5): // a base of 5 has no form without an offset
		modrm |= 0x40
		offset = []byte{byte(m.offset)}
	case m.offset != 0:
		modrm |= 0x80
		offset = bits.LittleEndian.AppendUint32(nil, uint32(int32(m.offset)))
	}
	return append([]byte{vex, second, noSource | prefix, 0x4b, modrm, stride&7<<3 | base&7}, offset...)
}

func tileloadd(tile int, from rowsAt) amx {
	return amx{fmt.Sprintf("tileloadd tmm%d, %v", tile, from), from.encode(3, tile)}
}

func tilestored(to rowsAt, tile int) amx {
	return amx{fmt.Sprintf("tilestored %v, tmm%d", to, tile), to.encode(2, tile)}
}
