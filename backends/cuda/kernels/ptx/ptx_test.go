package ptx_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/kernels/ptx"
)

const (
	head = `.version 9.0
.target sm_90
.address_size 64
.visible .entry k(
	.param .u64 k_param_0
)
.maxntid 64, 1, 1
{
	.reg .pred %p<9>; .reg .b16 %rs<9>; .reg .f32 %f<9>; .reg .b32 %r<29>; .reg .b64 %rd<9>; .reg .f64 %fd<9>;
	.shared .align 16 .b8 memory[1024];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd1, %r1, 4;
	ld.param.u64 %rd2, [k_param_0];
	add.s64 %rd3, %rd2, %rd1;
	shl.b32 %r2, %r1, 2;
	mov.u32 %r3, memory;
	add.s32 %r4, %r3, %r2;
	shl.b32 %r5, %r1, 4;
	add.s32 %r6, %r3, %r5;
`
	// Every thread stores %r0, and has %rd3 where it does, %r4 where it may use 4 bytes of shared memory,
	// %r6 where it may use 16.
	tail = "\n\tst.global.u32 [%rd3], %r0;\n\tret;\n}\n"
)

// words is memory of 64 numbers.
func words() ([]byte, func(i int) uint32) {
	all := make([]uint64, 32)
	data := unsafe.Slice((*byte)(unsafe.Pointer(&all[0])), 256)
	return data, func(i int) uint32 { return binary.LittleEndian.Uint32(data[4*i:]) }
}

// run executes a body by 64 threads.
func run(t *testing.T, body string, data []byte) error {
	t.Helper()
	m, err := ptx.Parse([]byte(head + body + tail))
	if err != nil {
		t.Fatal(err)
	}
	return ptx.Open(m, rand.Uint64()).Run(launchOf(data), [][]byte{data})
}

// launchOf is a launch of all threads, with that memory.
func launchOf(data []byte) kernels.Launch {
	return kernels.Launch{Name: "k", Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{64, 1, 1}, Args: []uint64{uint64(uintptr(unsafe.Pointer(&data[0])))}}
}

// instructions are held to what PTX ISA says of them.
var instructions = []struct {
	body string
	want func(thread uint32) uint32
}{
	{"shr.s32 %r0, -8, 40;", func(uint32) uint32 { return math.MaxUint32 }},
	{"shr.u32 %r0, -8, 40;", func(uint32) uint32 { return 0 }},
	{"shl.b32 %r0, 1, 32;", func(uint32) uint32 { return 0 }},
	{"mov.u32 %r7, -2147483648; prmt.b32 %r0, %r7, 17, 47684;", func(uint32) uint32 { return 0xff001111 }}, // 0xba44: byte 4 twice, signs of bytes 2 and 3
	{"bfi.b32 %r0, 5, 255, 4, 3;", func(uint32) uint32 { return 0xdf }},
	{"div.s32 %r0, -7, 2;", func(uint32) uint32 { return math.MaxUint32 - 2 }},
	{"rem.s32 %r0, -7, 2;", func(uint32) uint32 { return math.MaxUint32 }},
	{"mov.u16 %rs1, 200; cvt.s16.s8 %rs2, %rs1; cvt.u32.u16 %r0, %rs2;", func(uint32) uint32 { return 0xffc8 }},
	{"mov.b32 %r0, {7, 9};", func(uint32) uint32 { return 0x90007 }},
	{"mov.b32 {%rs1, %rs2}, 589831; cvt.u32.u16 %r0, %rs2;", func(uint32) uint32 { return 9 }},
	{"cvt.rzi.s32.f32 %r0, 0f7FC00000;", func(uint32) uint32 { return 0 }},
	{"cvt.rzi.s32.f32 %r0, 0f4F800000;", func(uint32) uint32 { return math.MaxInt32 }},
	{"cvt.rzi.s64.f32 %rd5, 0f7FC00000; shr.u64 %rd5, %rd5, 32; cvt.u32.u64 %r0, %rd5;", func(uint32) uint32 { return 1 << 31 }},
	{"cvt.rni.f32.f32 %f1, 0fC0200000; mov.b32 %r0, %f1;", func(uint32) uint32 { return math.Float32bits(-2) }},
	{"cvt.rmi.f32.f32 %f1, 0fC0200000; mov.b32 %r0, %f1;", func(uint32) uint32 { return math.Float32bits(-3) }},
	{"cvt.sat.f32.f32 %f1, 0f7FC00000; mov.b32 %r0, %f1;", func(uint32) uint32 { return 0 }},
	{"cvt.rna.tf32.f32 %r0, 0f3F801000;", func(uint32) uint32 { return 0x3f802000 }},
	{"cvt.rn.bf16.f32 %rs1, 0f3F818000; cvt.u32.u16 %r0, %rs1;", func(uint32) uint32 { return 0x3f82 }},
	{"cvt.rn.bf16.f32 %rs1, 0f3F808000; cvt.u32.u16 %r0, %rs1;", func(uint32) uint32 { return 0x3f80 }},
	{"copysign.f32 %f1, 0fBF800000, 0f40000000; mov.b32 %r0, %f1;", func(uint32) uint32 { return math.Float32bits(-2) }},
	{"min.s32 %r0, -1, 1;", func(uint32) uint32 { return math.MaxUint32 }},
	{"max.f32 %f1, 0f7FC00000, 0fBF800000; mov.b32 %r0, %f1;", func(uint32) uint32 { return math.Float32bits(-1) }},
	{"add.f32 %f1, 0f7F800000, 0fFF800000; mov.b32 %r0, %f1;", func(uint32) uint32 { return 0x7fffffff }},
	{"setp.neu.f32 %p1, 0f7FC00000, 0f00000000; selp.b32 %r0, 1, 0, %p1;", func(uint32) uint32 { return 1 }},
	{"setp.ne.s64 %p1, -1, -1; not.pred %p2, %p1; selp.b32 %r0, 1, 0, %p2;", func(uint32) uint32 { return 1 }},
	{"ex2.approx.ftz.f32 %f1, 0f41200000; mov.b32 %r0, %f1;", func(uint32) uint32 { return math.Float32bits(1024) }},
	{"shfl.sync.bfly.b32 %r0|%p1, %r1, 1, 31, -1;", func(i uint32) uint32 { return i ^ 1 }},
	{"shfl.sync.idx.b32 %r0|%p1, %r1, 1, 6175, -1;", func(i uint32) uint32 { return i&^7 | 1 }}, // segments of eight
	{"shfl.sync.bfly.b32 %r0|%p1, %r1, 8, 6151, -1;", func(i uint32) uint32 { return i &^ 8 }},  // to a higher segment it is not allowed
	{"setp.lt.u32 %p1, %r1, 17; mov.u32 %r0, 0; @%p1 bra $L; mov.u32 %r0, 3; $L: add.s32 %r0, %r0, 1;", func(i uint32) uint32 {
		if i < 17 {
			return 1
		}
		return 4
	}},
	{"mov.u32 %r0, 0; $L: add.s32 %r0, %r0, 2; setp.lt.u32 %p1, %r0, %r1; @%p1 bra $L; shfl.sync.idx.b32 %r0|%p1, %r0, 5, 31, -1;", func(i uint32) uint32 { return []uint32{6, 38}[i/32] }},
	{"sub.s32 %r7, 63, %r1; shl.b32 %r7, %r7, 2; st.shared.u32 [%r4], %r1; bar.sync 0; ld.shared.u32 %r0, [memory+0]; add.s32 %r7, %r7, %r3; ld.shared.u32 %r0, [%r7];",
		func(i uint32) uint32 { return 63 - i }},
	{"st.shared.u32 [%r4], %r1; bar.warp.sync -1; xor.b32 %r7, %r4, 4; ld.shared.u32 %r0, [%r7];", func(i uint32) uint32 { return i ^ 1 }},
	{"and.b64 %rd4, %rd2, -16; cp.async.cg.shared.global [%r6], [%rd4], 16, 6; cp.async.commit_group; cp.async.wait_group 0; ld.shared.u32 %r0, [%r6+4]; bar.sync 0;", func(uint32) uint32 { return 7 }},
}

func TestInstructions(t *testing.T) {
	for _, c := range instructions {
		data, word := words()
		binary.LittleEndian.PutUint64(data, 5|7<<32)
		if err := run(t, c.body, data); err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		for i := range 64 {
			if got, want := word(i), c.want(uint32(i)); got != want {
				t.Errorf("%s: thread %d stores %#x, want %#x", c.body, i, got, want)
				break
			}
		}
	}
}

// faults are what a device leaves undefined, or refuses.
var faults = []struct{ name, body, want string }{
	{"behind the operand", "ld.global.u32 %r0, [%rd3+4];", "0 bytes behind one of 256"},
	{"before the operand", "ld.global.u32 %r0, [%rd3+-4];", "4 bytes before one of 256"},
	{"across the end of the operand", "ld.global.u64 %rd4, [%rd2+252];", "misaligned"},
	{"misaligned", "ld.global.u32 %r0, [%rd3+2];", "misaligned"},
	{"nowhere", "ld.global.u32 %r0, [8];", "of no operand"},
	{"behind a variable", "ld.shared.u32 %r0, [memory+1024];", "of no variable"},
	{"of no parameter", "ld.param.u64 %rd4, [k_param_0+8];", "of no parameter"},
	{"shared memory without a barrier", "st.shared.u32 [%r4], %r1; xor.b32 %r7, %r2, 128; add.s32 %r7, %r7, %r3; ld.shared.u32 %r0, [%r7]; bar.sync 0;", "no barrier is between"},
	{"shared memory of a warp without a barrier", "st.shared.u32 [%r4], %r1; xor.b32 %r7, %r4, 4; ld.shared.u32 %r0, [%r7];", "no barrier is between"},
	{"a write after a read of others", "bar.sync 0; ld.shared.u32 %r0, [memory]; st.shared.u32 [memory], %r1;", "has read here"},
	{"two writes", "st.shared.u32 [memory], %r1;", "has written here"},
	{"two values at one place", "st.global.u32 [%rd2], %r1;", "something else here"},
	{"what another thread has written", "st.global.u32 [%rd3], %r1; bar.sync 0; xor.b32 %r7, %r2, 128; cvt.u64.u32 %rd4, %r7; add.s64 %rd4, %rd4, %rd2; ld.global.u32 %r0, [%rd4];", "another thread of the launch has written here"},
	{"a matrix that nobody has waited for", "st.shared.u32 [%r4], %r1; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0, %r7, %r8, %r9}, [%r6];", "no barrier is between"},
	{"a copy that nobody has waited for", "and.b64 %rd4, %rd2, -16; cp.async.cg.shared.global [%r6], [%rd4], 16, 16; cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r0, [%r6];", "not waited for"},
	{"a copy that is in no group", "and.b64 %rd4, %rd2, -16; cp.async.cg.shared.global [%r6], [%rd4], 16, 16; cp.async.wait_group 0; ld.shared.u32 %r0, [%r6];", "not waited for"},
	{"a copy to a place that is read", "st.shared.u32 [%r4], %r1; bar.sync 0; xor.b32 %r7, %r4, 16; ld.shared.u32 %r0, [%r7]; and.b64 %rd4, %rd2, -16; cp.async.cg.shared.global [%r6], [%rd4], 16, 16;", "has read here"},
	{"a barrier for some", "mov.u32 %r0, 0; setp.lt.u32 %p1, %r1, 3; @%p1 bra $L; bar.sync 0; bra.uni $M; $L: bar.sync 0; $M:", "here and others elsewhere"},
	{"a barrier for some warps", "mov.u32 %r0, 0; setp.lt.u32 %p1, %r1, 32; @%p1 bra $L; bar.sync 0; $L:", "others wait at a barrier"},
	{"a product by some", "mov.u32 %r0, 0; mov.f32 %f1, 0f00000000; setp.lt.u32 %p1, %r1, 3; @%p1 ret; mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1,%f2,%f3,%f4}, {%r1,%r1,%r1,%r1}, {%r1,%r1}, {%f1,%f1,%f1,%f1};", "not the whole warp"},
	{"a shuffle with others than are named", "mov.u32 %r0, 0; shfl.sync.idx.b32 %r0|%p1, %r1, 1, 31, 15;", "not of those named"},
	{"a register that nobody has written", "setp.lt.u32 %p1, %r1, 17; @%p1 bra $L; mov.u32 %r8, 3; $L: mov.u32 %r0, %r8;", "nobody has written it"},
	{"no end", "$L: bra.uni $L;", "does not end"},
	{"an instruction that is not known", "popc.b32 %r0, %r1;", "not known"},
	{"a modifier that is not known", "add.sat.s32 %r0, %r1, 1;", "not known"},
	{"a register that is not declared", "mov.u32 %r0, %r29;", "no register"},
	{"a register of another width", "mov.u32 %r0, %rd1;", "has 64 bits"},
	{"no label", "bra.uni $M;", "no label"},
}

func TestFaults(t *testing.T) {
	for _, c := range faults {
		data, _ := words()
		if err := run(t, c.body, data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Run() = %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// FuzzRun has every text read and executed to its end, or refused.
func FuzzRun(f *testing.F) {
	for _, c := range instructions {
		f.Add(c.body)
	}
	for _, c := range faults {
		f.Add(c.body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		data, _ := words()
		if m, err := ptx.Parse([]byte(head + body + tail)); err == nil {
			ptx.Open(m, 1).Run(launchOf(data), [][]byte{data})
		}
	})
}

func TestLaunchesThatAreRefused(t *testing.T) {
	m, err := ptx.Parse([]byte(head + tail))
	if err != nil {
		t.Fatal(err)
	}
	one := [3]uint32{1, 1, 1}
	for _, c := range []struct {
		name string
		l    kernels.Launch
		want string
	}{
		{"a name that is none", kernels.Launch{Name: "erode", Grid: one, Block: one}, "no kernel of that name"},
		{"too few arguments", kernels.Launch{Name: "k", Grid: one, Block: one}, "its 1 parameters take 8"},
		{"too many arguments", kernels.Launch{Name: "k", Grid: one, Block: one, Args: make([]uint64, 2)}, "its 1 parameters take 8"},
		{"no blocks", kernels.Launch{Name: "k", Block: one, Args: make([]uint64, 1)}, "grid"},
		{"too many blocks along z", kernels.Launch{Name: "k", Grid: [3]uint32{1, 1, 1 << 16}, Block: one, Args: make([]uint64, 1)}, "grid"},
		{"more threads than the kernel allows", kernels.Launch{Name: "k", Grid: one, Block: [3]uint32{65, 1, 1}, Args: make([]uint64, 1)}, "at most 64"},
		{"more shared memory than a block has", kernels.Launch{Name: "k", Grid: one, Block: one, Shared: kernels.MostShared - 1023, Args: make([]uint64, 1)}, "shared memory"},
	} {
		if err := ptx.Open(m, 1).Run(c.l, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Run(%+v) = %v, want an error with %q", c.name, c.l, err, c.want)
		}
	}
}

// TestFusedRoundsOnce holds fma and add against arithmetic without bounds.
func TestFusedRoundsOnce(t *testing.T) {
	modes := map[string]big.RoundingMode{"fma.rn.f32 %f0, %f1, %f2, %f3": big.ToNearestEven, "fma.rm.f32 %f0, %f1, %f2, %f3": big.ToNegativeInf,
		"fma.rn.f32 %f0, %f1, 0f3F800000, %f3": big.ToNearestEven, "add.rz.f32 %f0, %f1, %f3": big.ToZero}
	draw := func() float32 {
		// Few bits and near exponents, so that ties and almost ties are frequent.
		v := math.Ldexp(float64(rand.IntN(1<<24)>>rand.IntN(20)), rand.IntN(60)-30)
		return float32(math.Copysign(v+math.Ldexp(1, -rand.IntN(60)), rand.Float64()-0.5))
	}
	for op, mode := range modes {
		for range 600 {
			a, b, c := draw(), draw(), draw()
			data, word := words()
			body := fmt.Sprintf("mov.f32 %%f1, 0f%08X; mov.f32 %%f2, 0f%08X; mov.f32 %%f3, 0f%08X; %s; mov.b32 %%r0, %%f0;",
				math.Float32bits(a), math.Float32bits(b), math.Float32bits(c), op)
			if err := run(t, body, data); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(op, "%f2") {
				b = 1
			}
			exact := func(v float32) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(float64(v)) }
			sum := exact(0).Add(exact(0).Mul(exact(a), exact(b)), exact(c))
			want, _ := new(big.Float).SetPrec(24).SetMode(mode).Set(sum).Float32()
			if got := math.Float32frombits(word(7)); got != want {
				t.Fatalf("%s of %v, %v, %v is %v, want %v", op, a, b, c, got, want)
			}
		}
	}
}
