package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEvexIsWhatTheManualShows(t *testing.T) {
	tests := []struct {
		instruction evex
		operands    []string // the destination last
		want        []byte
	}{
		{vdpbf16ps, []string{"Z25", "Z24", "Z0"}, []byte{0x62, 0x92, 0x3e, 0x40, 0x52, 0xc1}},
		{vcvtneps2bf16, []string{"Z0", "Z1"}, []byte{0x62, 0xf2, 0x7e, 0x48, 0x72, 0xc8}},
		{vcvtne2ps2bf16, []string{"Z0", "Z1", "Z2"}, []byte{0x62, 0xf2, 0x77, 0x48, 0x72, 0xd0}},
	}
	for _, test := range tests {
		if got := test.instruction.encode(test.operands...); !bytes.Equal(got, test.want) {
			t.Errorf("%s %v = % x, want % x", test.instruction.name, test.operands, got, test.want)
		}
	}
}

// All registers at all places are encoded as the GNU assembler does it.
func TestEvexAgreesWithTheAssembler(t *testing.T) {
	var source, want bytes.Buffer
	source.WriteString(".text\n")
	write := func(i evex, operands ...string) {
		words := slices.Clone(operands)
		for j := range words {
			words[j] = strings.Replace(words[j], "Z", "%zmm", 1)
		}
		if i == vcvtneps2bf16 {
			words[1] = strings.Replace(words[1], "zmm", "ymm", 1)
		}
		fmt.Fprintf(&source, "%s %s\n", strings.ToLower(i.name), strings.Join(words, ", "))
		want.Write(i.encode(operands...))
	}
	for a := range 32 {
		for b := range 32 {
			write(vcvtneps2bf16, avx512.reg(a), avx512.reg(b))
			for c := range 32 {
				write(vdpbf16ps, avx512.reg(a), avx512.reg(b), avx512.reg(c))
			}
			write(vcvtne2ps2bf16, avx512.reg(a), avx512.reg(b), avx512.reg((a+b)%32))
		}
	}
	assemblerMakes(t, source.Bytes(), want.Bytes())
}

// assemblerMakes fails unless the GNU assembler, if there is one, makes the code of the source.
func assemblerMakes(t *testing.T, source, want []byte) {
	t.Helper()
	as, err := exec.LookPath("as")
	if err != nil {
		t.Skipf("no assembler to compare with: %v", err)
	}
	object := filepath.Join(t.TempDir(), "code.o")
	command := exec.Command(as, "--64", "-o", object, "-")
	command.Stdin = bytes.NewReader(source)
	if out, err := command.CombinedOutput(); err != nil {
		t.Skipf("this assembler does not know the instructions: %v: %.300s", err, out)
	}
	got, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(got, want) {
		t.Errorf("the assembler's code does not contain the %d bytes that we make", len(want))
	}
}
