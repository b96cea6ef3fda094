package cublaslt

import (
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cudatest"
	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// fake is a library of cudatest with its driver, in a context of its first device.
type fake struct {
	*Handle
	t       *testing.T
	library uintptr
	driver  uintptr
	stream  driver.Stream
}

func start(t *testing.T, settings string) *fake {
	t.Helper()
	t.Setenv(cudatest.ProductsKey, settings)
	dir := cudatest.Folder(t)
	cudatest.AddProducts(t, dir)
	f := &fake{t: t}
	var err [3]error
	f.driver, err[0] = purego.Dlopen(filepath.Join(dir, "libcuda.so.1"), purego.RTLD_NOW)
	l, second := load(filepath.Join(dir, "libcublasLt.so.13"))
	f.library, err[1] = purego.Dlopen(filepath.Join(dir, "libcublasLt.so.13"), purego.RTLD_NOW)
	if err := errors.Join(append(err[:], second)...); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	text := []byte("memory=1048576\x00")
	f.call(f.driver, "fake_configure", uintptr(unsafe.Pointer(&text[0])))
	var context uintptr
	f.call(f.driver, "cuInit", 0)
	f.call(f.driver, "cuDevicePrimaryCtxRetain", uintptr(unsafe.Pointer(&context)), 0)
	f.call(f.driver, "cuCtxSetCurrent", context)
	f.call(f.driver, "cuStreamCreate", uintptr(unsafe.Pointer(&f.stream)), 1)
	if f.Handle, err[2] = l.NewHandle(); err[2] != nil {
		t.Fatal(err[2])
	}
	return f
}

//go:uintptrescapes
func (f *fake) call(library uintptr, name string, args ...uintptr) uintptr {
	f.t.Helper()
	function, err := purego.Dlsym(library, name)
	if err != nil {
		f.t.Fatal(err)
	}
	r, _, _ := purego.SyscallN(function, args...)
	return r
}

// get returns an attribute of so many bytes, as text.
func (f *fake) get(descriptor string, object uintptr, attribute, size int) string {
	f.t.Helper()
	value, written := make([]byte, size), uint64(0)
	r := f.call(f.library, "cublasLt"+descriptor+"GetAttribute", object, uintptr(attribute), uintptr(unsafe.Pointer(&value[0])), uintptr(size), uintptr(unsafe.Pointer(&written)))
	if r != 0 || int(written) != size {
		f.t.Fatalf("attribute %d of a %s: status %d, %d bytes", attribute, descriptor, r, written)
	}
	return hex.EncodeToString(value)
}

// alloc returns memory of the device, which is memory of this process.
func alloc[T any](f *fake, n int) (uint64, []T) {
	var at *T
	f.call(f.driver, "cuMemAlloc_v2", uintptr(unsafe.Pointer(&at)), uintptr(n)*unsafe.Sizeof(*at))
	return uint64(uintptr(unsafe.Pointer(at))), unsafe.Slice(at, n)
}

// The encoder's first layer at sixteen bits, and what else there is to say of a product.
var described = Product{
	Type: F16, M: 5, N: 7, K: 11, Batch: 3, A: Matrix{13, 65, 16}, B: Matrix{12, 0, 32}, D: Matrix{8, 40, 256}, TransposedB: true, Alpha: 1,
	Activation: GeluTanh, Bias: 64, Residual: 128,
}

// TestDescriptors holds what is set of a product against the header: attributes, their numbers, sizes and bytes.
// The library of cudatest keeps what it is given, and refuses other sizes; the vendor's gives the same back.
func TestDescriptors(t *testing.T) {
	f := start(t, "")
	p, err := f.Plan(described)
	if err != nil {
		t.Fatal(err)
	}
	preference, err := p.preference(32 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		descriptor      string
		object          uintptr
		name            string
		attribute, size int
		want            string
	}{
		{"MatmulDesc", p.desc, "compute type: 32F", 0, 4, "44000000"},
		{"MatmulDesc", p.desc, "scale type: R_32F", 1, 4, "00000000"},
		{"MatmulDesc", p.desc, "pointer mode: host", 2, 4, "00000000"},
		{"MatmulDesc", p.desc, "A is transposed", 3, 4, "01000000"},
		{"MatmulDesc", p.desc, "B is not", 4, 4, "00000000"},
		{"MatmulDesc", p.desc, "epilogue: GELU_BIAS", 7, 4, "24000000"},
		{"MatmulDesc", p.desc, "bias, aligned to 64", 8, 8, "4000000000000000"},
		{"MatrixLayout", p.a, "of R_16F", 0, 4, "02000000"},
		{"MatrixLayout", p.a, "ordered by columns", 1, 4, "00000000"},
		{"MatrixLayout", p.a, "rows of our B's transpose, which is transposed", 2, 8, "0b00000000000000"},
		{"MatrixLayout", p.a, "its columns", 3, 8, "0700000000000000"},
		{"MatrixLayout", p.a, "from one column to the next", 4, 8, "0c00000000000000"},
		{"MatrixLayout", p.a, "matrices", 5, 4, "03000000"},
		{"MatrixLayout", p.a, "the same for all", 6, 8, "0000000000000000"},
		{"MatrixLayout", p.b, "rows of our A's transpose", 2, 8, "0b00000000000000"},
		{"MatrixLayout", p.b, "its columns", 3, 8, "0500000000000000"},
		{"MatrixLayout", p.b, "from one column to the next", 4, 8, "0d00000000000000"},
		{"MatrixLayout", p.b, "from one matrix to the next", 6, 8, "4100000000000000"},
		{"MatrixLayout", p.d, "rows of our D's transpose", 2, 8, "0700000000000000"},
		{"MatrixLayout", p.d, "its columns", 3, 8, "0500000000000000"},
		{"MatrixLayout", p.d, "from one column to the next", 4, 8, "0800000000000000"},
		{"MatrixLayout", p.d, "from one matrix to the next", 6, 8, "2800000000000000"},
		{"MatmulPreference", preference, "best fit", 0, 4, "00000000"},
		{"MatmulPreference", preference, "workspace", 1, 8, "0000000200000000"},
		{"MatmulPreference", preference, "alignment of A, which is our B", 5, 4, "20000000"},
		{"MatmulPreference", preference, "alignment of B, which is our A", 6, 4, "10000000"},
		{"MatmulPreference", preference, "alignment of C, the residual", 7, 4, "80000000"},
		{"MatmulPreference", preference, "alignment of D", 8, 4, "00010000"},
	} {
		if got := f.get(c.descriptor, c.object, c.attribute, c.size); got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.descriptor, c.name, got, c.want)
		}
	}
	if err := errors.Join(set(f.Handle.library, callMatmulDescSetAttribute, p.desc, descEpilogue, uint64(1))); !Refused(err) {
		t.Errorf("an epilogue of eight bytes = %v, want a refusal", err)
	}
	if n := unsafe.Sizeof(heuristic{}); n != 96 {
		t.Errorf("a result of heuristics has %d bytes, want 96", n)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// TestComputeTypes says what products are taken in: with FP32 never as TF32 unless that is asked for.
func TestComputeTypes(t *testing.T) {
	for _, c := range []struct {
		product        Product
		compute        int32
		scale, results Type
		epilogue       uint32
	}{
		{Product{Type: F32}, 68, F32, F32, 1},
		{Product{Type: F32, TF32: true, Bias: 4}, 77, F32, F32, 4},
		{Product{Type: F16, Activation: Relu}, 68, F32, F16, 2},
		{Product{Type: BF16, Activation: Relu, Bias: 4}, 68, F32, BF16, 6},
		{Product{Type: BF16, Activation: GeluTanh}, 68, F32, BF16, 32},
		{Product{Type: I8}, 72, I32, I32, 1},
	} {
		compute, scale := c.product.compute()
		if compute != c.compute || scale != c.scale || c.product.result() != c.results || c.product.epilogue() != c.epilogue {
			t.Errorf("%+v is computed in %d, scaled in %d, gives %d after %d: want %d, %d, %d after %d",
				c.product, compute, scale, c.product.result(), c.product.epilogue(), c.compute, c.scale, c.results, c.epilogue)
		}
	}
}

// TestMultiply holds products against sums in double precision, rows of all operands being longer than they need.
func TestMultiply(t *testing.T) {
	f := start(t, "")
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []Product{
		{},
		{TransposedB: true},
		{Batch: 3, Bias: 256},
		{Batch: 2, TransposedB: true, Activation: Relu, Bias: 256, Residual: 256},
		{Activation: GeluTanh, Residual: 256},
	} {
		c.Type, c.M, c.N, c.K, c.Batch, c.Alpha = F32, 1+r.Int64N(9), 1+r.Int64N(9), 1+r.Int64N(9), max(c.Batch, 1), 0.5
		c.A, c.D = Matrix{c.K + 1, c.M * (c.K + 1), 256}, Matrix{c.N + 2, c.M*(c.N+2) + 1, 256}
		c.B = Matrix{c.N + 3, 0, 256}
		if c.TransposedB {
			c.B.Row = c.K + 3
		}
		var at Operands
		var all [5][]float32
		for i, to := range []*uint64{&at.A, &at.B, &at.Bias, &at.Residual, &at.D} {
			if *to, all[i] = alloc[float32](f, 1000); i < 4 {
				for k := range all[i] {
					all[i][k] = float32(r.NormFloat64())
				}
			}
		}
		workspace, _ := alloc[byte](f, 4096)
		p, err := f.Plan(c)
		if err != nil {
			t.Fatal(err)
		}
		ways, err := p.Algorithms(4096, 8)
		if err != nil || len(ways) != 2 || ways[1].Workspace != 4096 {
			t.Fatalf("Algorithms = %+v, %v, want those that are for this device", ways, err)
		}
		for _, way := range ways {
			clear(all[4])
			if err := p.Multiply(way, at, workspace, f.stream); err != nil {
				t.Fatal(err)
			}
			if r := f.call(f.driver, "cuStreamSynchronize", uintptr(f.stream)); r != 0 {
				t.Fatalf("%+v: the device says %d", c, r)
			}
			if want := expected(c, all); !slices.EqualFunc(all[4], want, func(a, b float32) bool { return math.Abs(float64(a-b)) <= 1e-5 }) {
				t.Errorf("%+v gives %v, want %v", c, all[4][:20], want[:20])
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// expected returns what lies in D after a product, of A, B, bias and residual.
func expected(p Product, of [5][]float32) []float32 {
	d := make([]float32, len(of[4]))
	for i := range p.Batch * p.M * p.N {
		batch, m, n := i/(p.M*p.N), i/p.N%p.M, i%p.N
		sum := float64(0)
		for k := range p.K {
			b := k*p.B.Row + n
			if p.TransposedB {
				b = n*p.B.Row + k
			}
			sum += float64(of[0][batch*p.A.Batch+m*p.A.Row+k]) * float64(of[1][batch*p.B.Batch+b])
		}
		sum *= float64(p.Alpha)
		at := batch*p.D.Batch + m*p.D.Row + n
		if p.Bias != 0 {
			sum += float64(of[2][n])
		}
		if p.Residual != 0 {
			sum += float64(of[3][at])
		}
		switch p.Activation {
		case Relu:
			sum = max(sum, 0)
		case GeluTanh:
			sum *= 0.5 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(sum+0.044715*sum*sum*sum)))
		}
		d[at] = float32(sum)
	}
	return d
}

func TestIntegers(t *testing.T) {
	f := start(t, "")
	product := Product{Type: I8, M: 3, N: 4, K: 8, Batch: 1, A: Matrix{8, 0, 256}, B: Matrix{8, 0, 256}, D: Matrix{4, 0, 256}, TransposedB: true}
	a, left := alloc[int8](f, 24)
	b, right := alloc[int8](f, 32)
	d, sums := alloc[int32](f, 12)
	for i := range right {
		left[i%24], right[i] = int8(7*i%255-127), int8(127-3*i)
	}
	p, err := f.Plan(product)
	if err != nil {
		t.Fatal(err)
	}
	ways, err := p.Algorithms(0, 8)
	if err != nil || len(ways) != 1 || ways[0].Workspace != 0 {
		t.Fatalf("Algorithms without workspace = %+v, %v, want the one that needs none", ways, err)
	}
	if err := p.Multiply(ways[0], Operands{A: a, B: b, D: d}, 0, f.stream); err != nil {
		t.Fatal(err)
	}
	f.call(f.driver, "cuStreamSynchronize", uintptr(f.stream))
	for i, got := range sums {
		want := int32(0)
		for k := range 8 {
			want += int32(left[i/4*8+k]) * int32(right[i%4*8+k])
		}
		if got != want {
			t.Errorf("sum %d is %d, want %d", i, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		settings, want  string
		refused, sticky bool
	}{
		{"matmul=15", "cublasLtMatmul: the requested functionality is not supported (CUBLAS_STATUS_NOT_SUPPORTED, 15)", true, false},
		{"matmul=3", "CUBLAS_STATUS_ALLOC_FAILED", true, false},
		{"matmul=13", "CUBLAS_STATUS_EXECUTION_FAILED", true, false},
		{"heuristic=15", "cublasLtMatmulAlgoGetHeuristic", true, false},
	} {
		f := start(t, c.settings)
		p, err := f.Plan(described)
		if err != nil {
			t.Fatal(err)
		}
		ways, err := p.Algorithms(0, 1)
		if err == nil {
			err = p.Multiply(ways[0], Operands{}, 0, f.stream)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || Refused(err) != c.refused || driver.Sticky(err) != c.sticky || errors.Is(err, backends.ErrUnavailable) != c.sticky {
			t.Errorf("%s: %v, refused %v, sticky %v: want %q, %v, %v", c.settings, err, Refused(err), driver.Sticky(err), c.want, c.refused, c.sticky)
		}
	}
}

func TestOpen(t *testing.T) {
	if l, err := Open(11080); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Open for a driver of long ago = %v, %v, want an ErrUnavailable", l, err)
	}
	var names []string
	for _, path := range paths(13000) {
		names = append(names, filepath.Base(path))
	}
	if want := []string{"libcublasLt.so.13", "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.12"}; !slices.Equal(names, want) {
		t.Errorf("for CUDA 13.0 libraries are %v, want %v", names, want)
	}
	if all := paths(12090); len(all) != 2 || all[0] != "libcublasLt.so.12" {
		t.Errorf("for CUDA 12.9 libraries are %v, want those of 12", all)
	}
	if _, err := load("libc.so.6"); err == nil || !strings.Contains(err.Error(), "libc.so.6 lacks cublasLt") {
		t.Errorf("load of another library = %v", err)
	}
	if v := start(t, "").Handle.library.Version(); v != "13.0.2" {
		t.Errorf("Version = %s, want 13.0.2", v)
	}
}
