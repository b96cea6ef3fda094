package main

import (
	"bytes"
	"testing"
)

func TestTileInstructionsAreWhatTheManualShows(t *testing.T) {
	for _, test := range []struct {
		instruction amx
		text        string
		want        []byte
	}{
		{ldtilecfg("AX"), "ldtilecfg [rax]", []byte{0xc4, 0xe2, 0x78, 0x49, 0x00}},
		{tilerelease(), "tilerelease", []byte{0xc4, 0xe2, 0x78, 0x49, 0xc0}},
		{tilezero(3), "tilezero tmm3", []byte{0xc4, 0xe2, 0x7b, 0x49, 0xd8}},
		{tdpbf16ps.of(0, 4, 6), "tdpbf16ps tmm0, tmm4, tmm6", []byte{0xc4, 0xe2, 0x4a, 0x5c, 0xc4}},
		{tdpbusd.of(0, 4, 6), "tdpbusd tmm0, tmm4, tmm6", []byte{0xc4, 0xe2, 0x49, 0x5e, 0xc4}},
		{tileloadd(4, rowsAt{"SI", "R8", 0}), "tileloadd tmm4, [rsi+r8*1]", []byte{0xc4, 0xa2, 0x7b, 0x4b, 0x24, 0x06}},
		{tilestored(rowsAt{"DX", "R10", 0}, 0), "tilestored [rdx+r10*1], tmm0", []byte{0xc4, 0xa2, 0x7a, 0x4b, 0x04, 0x12}},
	} {
		if got := test.instruction; got.text != test.text || !bytes.Equal(got.code, test.want) {
			t.Errorf("%s = % x, want %s = % x", got.text, got.code, test.text, test.want)
		}
	}
}

// All tiles, registers and distances are encoded as the GNU assembler does it.
func TestTileInstructionsAgreeWithTheAssembler(t *testing.T) {
	var source, want bytes.Buffer
	source.WriteString(".intel_syntax noprefix\n.text\n")
	write := func(i amx) {
		source.WriteString(i.text + "\n")
		want.Write(i.code)
	}
	write(tilerelease())
	for _, base := range []string{"AX", "CX", "DX", "BX", "SI", "DI"} {
		write(ldtilecfg(base))
	}
	for a := range 8 {
		write(tilezero(a))
		for b := range 8 {
			for c := range 8 {
				if a == b || a == c || b == c {
					continue // the processor refuses
				}
				for _, d := range []dot{tdpbf16ps, tdpbssd, tdpbsud, tdpbusd, tdpbuud} {
					write(d.of(a, b, c))
				}
			}
		}
	}
	for i, base := range generalRegisters {
		for j, stride := range generalRegisters {
			if stride.plan9 == "SP" {
				continue
			}
			for _, offset := range []int{0, 1, -1, 64, 127, 128, -128, -129, 4096, 1 << 30} {
				m := rowsAt{base.plan9, stride.plan9, offset}
				write(tileloadd((i+j)%8, m))
				write(tilestored(m, (i+j+1)%8))
			}
		}
	}
	assemblerMakes(t, source.Bytes(), want.Bytes())
}
