package kernels_test

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/kernels/ptx"
)

// trial is a test that is meant to fail.
type trial struct {
	testing.TB
	why string
}

func (t *trial) Helper()      {}
func (t *trial) Failed() bool { return false }

func (t *trial) Fatalf(format string, args ...any) {
	t.why = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (t *trial) Fatal(args ...any) { t.Fatalf("%s", fmt.Sprint(args...)) }

// draws is how many operands a case is tried with.
const draws = 5

// attempt runs a case with a module and returns why it fails.
func attempt(t *testing.T, d *ptx.Device, m *ptx.Module, run func(*bench)) string {
	t.Helper()
	d.Load(m)
	for seed := range uint64(draws) {
		try, done := &trial{TB: t}, make(chan struct{})
		go func() {
			defer close(done)
			run(newBenchOn(try, seed, d.Run))
		}()
		if <-done; try.why != "" {
			return try.why
		}
	}
	return ""
}

// spoiling is a fault that is put into an instruction.
type spoiling struct {
	name string
	of   *regexp.Regexp
	to   string
}

var spoilings = []spoiling{
	{"no barrier", regexp.MustCompile(`\tbar\.sync 	0;`), ";"},
	{"A's rows swapped", regexp.MustCompile(`(mma.sync\S+ \{[^}]*\}, \{)(%r\d+),(%r\d+),`), "${1}${3},${2},"},
	{"A's columns swapped", regexp.MustCompile(`(mma.sync\S+ \{[^}]*\}, \{)(%r\d+),(%r\d+),(%r\d+),(%r\d+)`), "${1}${4},${5},${2},${3}"},
	{"B's rows swapped", regexp.MustCompile(`(mma.sync\S+ \{[^}]*\}, \{[^}]*\}, \{)(%r\d+),(%r\d+)`), "${1}${3},${2}"},
	{"D's columns swapped", regexp.MustCompile(`(mma.sync\S+ \{)(%\w+),(%\w+)`), "${1}${3},${2}"},
	{"another C", regexp.MustCompile(`(mma.sync.*\{)%f\d+,(%f\d+,%f\d+,%f\d+\};)`), "${1}0f3F800000,${2}"},
	{"bytes of the other sign", regexp.MustCompile(`(mma.sync\S+)\.[su]8\.s8\.s32`), "${1}.s8.u8.s32"},
	{"transposed", regexp.MustCompile(`m8n8\.x4\.shared`), "m8n8.x4.trans.shared"},
	{"not transposed", regexp.MustCompile(`m8n8\.x4\.trans\.shared`), "m8n8.x4.shared"},
	{"matrices swapped", regexp.MustCompile(`(ldmatrix\S+ \{)(%r\d+), (%r\d+)`), "${1}${3}, ${2}"},
	{"not waited for", regexp.MustCompile(`cp\.async\.wait_group (\d)`), "cp.async.wait_group 1$1"},
	{"a copy in no group", regexp.MustCompile(`cp\.async\.commit_group;`), ";"},
	{"nothing copied", regexp.MustCompile(`(cp\.async\.cg\S+ \[%r\d+\], \[%rd\d+\], 16), %r\d+`), "${1}, 0"},
	{"no other lane", regexp.MustCompile(`(shfl\.sync\.bfly\.b32 	%r\d+\|%p\d+, %r\d+), %r\d+`), "${1}, 0"},
	{"another parameter", regexp.MustCompile(`(ld\.param\.u64 	%rd\d+, \[\w+_param_)0\]`), "${1}1]"},
}

// TestFaultsAreFound puts faults into the PTX, one at a time into each instruction that a case executes, and has
// the case find them.
func TestFaultsAreFound(t *testing.T) {
	if detectingRaces {
		t.Skip("one goroutine interprets, and slowly: there are no races to be found")
	}
	t.Parallel()
	m, err := image()
	if err != nil {
		t.Fatal(err)
	}
	// The wait behind all others ends copies that are none.
	last := map[string]int{"not waited for": 1}
	for _, c := range []struct {
		kernel string
		run    func(b *bench)
		same   map[string]int // faults that change no result
	}{
		{"gemm_f16_nt_64", func(b *bench) { b.gemm(productSize{"", 70, 67, 136, [2]int64{1, 1}}, "f16", true) }, last},
		{"gemm_bf16_nn_64", func(b *bench) { b.gemm(productSize{"", 70, 72, 136, [2]int64{1, 1}}, "bf16", false) }, last},
		{"gemm_tf32_nn_64", func(b *bench) { b.gemm(productSize{"", 70, 68, 72, [2]int64{1, 1}}, "tf32", false) }, last},
		{"gemm_i8_nt_64", func(b *bench) { b.gemmInt8(kernels.I8, kernels.I32, [4]int64{70, 67, 272, 0}) }, last},
		{"gemm_u8_nt_64", func(b *bench) { b.gemmInt8(kernels.U8, kernels.F32, [4]int64{70, 67, 272, 0}) }, last},
		{"gemm_f32_nn", func(b *bench) { b.gemm(productSize{"", 70, 67, 40, [2]int64{1, 1}}, "f32", false) }, nil},
		{"conv_f16_64", func(b *bench) { b.conv(slid{"", 1, 9, 8, 16, 70, 1, 3, 1, 1, 1, 0}, "f16") }, last},
		{"attention_f16_32", func(b *bench) { b.attention(kernels.F16, 32, attended{"", 1, 1, 69, 135, "of keys", false}) }, last},
		{"attention_f32_32", func(b *bench) { b.attention(kernels.F32, 32, attended{"", 1, 1, 18, 70, "of keys", false}) }, nil},
		{"softmax_f32_block", func(b *bench) { b.softmax(kernels.F32, rowSize{2, 1030}, false) },
			// Neither the sum nor the largest uses its memory again, and a number that is not the largest does for small ones.
			map[string]int{"no barrier": 2, "no other lane": 5}},
		{"softmax_f16_warp", func(b *bench) { b.softmax(kernels.F16, rowSize{5, 1001}, false) }, nil},
		{"norm_bf16_block", func(b *bench) { b.norm(kernels.BF16, rowSize{2, 1030}, false) }, map[string]int{"no barrier": 1}},
		{"topk_f32", func(b *bench) {
			b.topK(kernels.F32, [3]int64{2, 300, 17}, false)
			b.topK(kernels.F32, [3]int64{2, 10, 3}, false)
		}, map[string]int{"no other lane": 2}}, // the upper halves of places, which are all the same
	} {
		if testing.Short() && !strings.HasPrefix(c.kernel, "softmax") {
			continue
		}
		t.Run(c.kernel, func(t *testing.T) {
			text := m.Text(c.kernel)
			sound := m.With(c.kernel, text)
			d := ptx.Open(sound, 1)
			if why := attempt(t, d, sound, c.run); why != "" {
				t.Fatal(why)
			}
			all := 0
			for _, s := range spoilings {
				var missed []string
				for _, at := range s.of.FindAllStringSubmatchIndex(text, -1) {
					line := strings.Count(text[:at[0]], "\n")
					if !sound.Executed(c.kernel, line) {
						continue
					}
					all++
					spoiled := text[:at[0]] + string(s.of.ExpandString(nil, s.to, text, at)) + text[at[1]:]
					if attempt(t, d, m.With(c.kernel, spoiled), c.run) == "" {
						missed = append(missed, fmt.Sprintf("%d: %s", line, text[at[0]:at[1]]))
					}
				}
				if len(missed) != c.same[s.name] {
					t.Errorf("%s is not found %d times, want %d:\n%s", s.name, len(missed), c.same[s.name], strings.Join(missed, "\n"))
				}
			}
			t.Logf("%d faults", all)
		})
	}
}
