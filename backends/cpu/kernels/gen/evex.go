package main

import (
	bits "encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// evex is an instruction that the Go assembler does not know, on vector registers.
type evex struct {
	name   string
	prefix byte // 1 for 66, 2 for f3, 3 for f2
	opcode byte // in the map 0f38
}

var (
	vdpbf16ps      = evex{"VDPBF16PS", 2, 0x52}      // adds the products of pairs
	vcvtneps2bf16  = evex{"VCVTNEPS2BF16", 2, 0x72}  // rounds 16 values to half a register
	vcvtne2ps2bf16 = evex{"VCVTNE2PS2BF16", 3, 0x72} // rounds 32 values, those of the last source first
)

// evex writes an instruction on registers of 64 bytes, operands in the order of the Go assembler.
func (f *file) evex(i evex, operands ...string) {
	code := i.encode(operands...)
	fmt.Fprintf(&f.asm, "\tLONG $0x%08x; WORD $0x%04x // %s %s\n",
		bits.LittleEndian.Uint32(code), bits.LittleEndian.Uint16(code[4:]), i.name, strings.Join(operands, ", "))
}

// encode returns the six bytes of an instruction of two or three operands.
func (i evex) encode(operands ...string) []byte {
	var n [3]int // the last source, the first source if there are two, the destination
	n[0], n[2] = number(operands[0]), number(operands[len(operands)-1])
	if len(operands) == 3 {
		n[1] = number(operands[1])
	}
	// The high bits of register numbers are stored inverted.
	bit := func(operand, bit, place int) byte { return byte(^n[operand]>>bit&1) << place }
	const escape, map0f38, fixed, width512, registers = 0x62, 2, 4, 2 << 5, 0xc0
	return []byte{
		escape,
		bit(2, 3, 7) | bit(0, 4, 6) | bit(0, 3, 5) | bit(2, 4, 4) | map0f38,
		byte(^n[1]&15)<<3 | fixed | i.prefix,
		width512 | bit(1, 4, 3),
		i.opcode,
		registers | byte(n[2]&7)<<3 | byte(n[0]&7),
	}
}

// number returns the number of a vector register.
func number(register string) int {
	n, err := strconv.Atoi(register[1:])
	if err != nil {
		panic(err)
	}
	return n
}
