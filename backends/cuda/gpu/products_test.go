//go:build cuda

package gpu

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/ebitengine/purego"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/backends/cuda/cudatest"
	"github.com/thrumserve/thrum/backends/cuda/kernels/emulated"
)

// TestWithProducts runs the tests of products in processes with a driver and a library of cudatest.
func TestWithProducts(t *testing.T) {
	if os.Getenv(cudatest.Key) != "" {
		t.Skip("this is the process with a driver")
	}
	library, folder := emulated.Library(t), cudatest.Folder(t)
	cudatest.AddProducts(t, folder)
	for _, c := range []struct {
		situation, test, driver, library string
		said                             string // of why kernels compute products, once
		ends                             bool   // the process, over that
	}{
		{"the library alone", "^TestProductsForced$", "memory=1073741824", "cost=1", "", false},
		{"a fast library", "^TestProductsFastest$", "memory=1073741824 cost=1000", "cost=1", "", false},
		{"a slow library", "^TestProductsByKernels$", "memory=1073741824", "cost=100000", "", false},
		{"a device that has been idle", "^TestProductsOfAColdDevice$", "memory=1073741824 cost=1000000 cold=41", "cost=100000", "", false},
		{"sizes that vary", "^TestProductsWhileServing$", "memory=1073741824", "cost=0", "", false},
		{"no room for workspace", "^TestProductsWithoutWorkspace$", "memory=8388608", "cost=1", "", false},
		{"a library that does not start", "^TestProductsRefused$", "memory=1073741824", "create=1", "CUBLAS_STATUS_NOT_INITIALIZED", false},
		{"no algorithm", "^TestProductsRefused$", "memory=1073741824", "heuristic=15", "CUBLAS_STATUS_NOT_SUPPORTED", false},
		{"products that are not supported", "^TestProductsRefused$", "memory=1073741824", "matmul=15", "CUBLAS_STATUS_NOT_SUPPORTED", false},
		{"no memory in the library", "^TestProductsRefused$", "memory=1073741824", "matmul=3", "CUBLAS_STATUS_ALLOC_FAILED", false},
		{"streams that record", "^TestProductsRefused$", "memory=1073741824", "capture=15", "CUBLAS_STATUS_NOT_SUPPORTED", false},
		{"the graph of a batch", "^TestProductsRefused$", "memory=1073741824", "capture=15 after=81", "a graph does not take what the library does", false},
		{"an algorithm that is wrong", "^TestProductsOfTheOther$", "memory=1073741824", "wrong=1", "an algorithm of the library gives something else", false},
		{"a fault on the device", "^TestProductsRefused$", "memory=1073741824", "failing=5", "cuEventSynchronize: error 719", true},
		{"kernels that the driver does not launch", "^TestProductsRefused$", "memory=1073741824", "matmul=13", "CUBLAS_STATUS_EXECUTION_FAILED", false},
	} {
		p := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run="+c.test)
		p.Env = append(os.Environ(), "LD_LIBRARY_PATH="+folder, cudatest.Key+"=version=13000 "+c.driver, cudatest.KernelsKey+"="+library, cudatest.ProductsKey+"="+c.library)
		out, err := p.CombinedOutput()
		passed := err == nil && bytes.Contains(out, []byte("--- PASS: "+strings.Trim(c.test, "^$")))
		ended := err != nil && bytes.Contains(out, []byte("the device answers this process no more"))
		if passed == c.ends || ended != c.ends {
			t.Errorf("%s: %v\n%s", c.situation, err, out)
		}
		if n := bytes.Count(out, []byte(c.said)); c.said != "" && n != 1 {
			t.Errorf("%s: %q is said %d times, want once\n%s", c.situation, c.said, n, out)
		}
	}
}

// counted returns what the library has counted: products by an algorithm, or those with TF32.
func counted(t *testing.T, name string, algorithm int) int {
	t.Helper()
	if os.Getenv(cudatest.ProductsKey) == "" {
		t.Skip("TestWithProducts runs this")
	}
	handle, err := purego.Dlopen("libcublasLt.so.13", purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	function, err := purego.Dlsym(handle, name)
	if err != nil {
		t.Fatal(err)
	}
	n, _, _ := purego.SyscallN(function, uintptr(algorithm))
	return int(n)
}

// answered holds a model's answers against those of the cpu backend.
func answered(t *testing.T, dir, precision, products string, tolerance float64) {
	t.Helper()
	b, reference := backend(t), cpu.New(cpu.Options{Threads: 1})
	defer reference.Close()
	m, err := b.Load(t.Context(), backends.Spec{Dir: dir, MaxRows: 4, Options: map[string]string{"precision": precision, "products": products}})
	if err != nil {
		t.Fatalf("%s in %s: %v", dir, precision, err)
	}
	r, err := reference.Load(t.Context(), backends.Spec{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int64{1, 3, 6} {
		in := random(r.Signature(), rows, 5)
		want, err := r.Predict(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Predict(t.Context(), in)
		if err != nil {
			t.Errorf("%s in %s, %d rows: %v", dir, precision, rows, err)
			break
		}
		for i := range want.Tensors {
			if err := differs(got.Tensors[i], want.Tensors[i], tolerance); err != nil {
				t.Errorf("%s in %s, %d rows: %v", dir, precision, rows, err)
			}
		}
		got.Release()
		want.Release()
	}
	if err := errors.Join(m.Close(), r.Close(), b.Close()); err != nil {
		t.Errorf("Close of %s = %v", dir, err)
	}
}

// used returns how many products have been put on streams by now.
func used(t *testing.T) int {
	t.Helper()
	return counted(t, "fake_products", 0) + counted(t, "fake_products", 1)
}

func TestProductsForced(t *testing.T) {
	for precision, tolerance := range map[string]float64{"fp32": 2e-4, "tf32": 2e-2, "fp16": 3e-2, "bf16": 0.2, "int8": 2e-2} {
		for _, dir := range []string{"layers", "encoder", "network", "quantized", "quantized-signed"} {
			if precision != "fp32" && precision != "int8" && strings.HasPrefix(dir, "quantized") {
				continue // it rounds to a few steps
			}
			before, tf32 := used(t), counted(t, "fake_tf32", 0)
			answered(t, "../testdata/"+dir, precision, "cublaslt", tolerance)
			if n := used(t) - before; (n > 0) != (precision != "int8" || dir != "quantized") { // which has unsigned rows
				t.Errorf("%s in %s: the library has had %d products", dir, precision, n)
			}
			if n := counted(t, "fake_tf32", 0) - tf32; (n > 0) != (precision == "tf32") {
				t.Errorf("%s in %s: %d products are taken as TF32", dir, precision, n)
			}
		}
	}
}

// load returns the layers, ready.
func load(t *testing.T, products string) backends.Model {
	t.Helper()
	m, err := backend(t).Load(t.Context(), backends.Spec{Dir: "../testdata/layers", MaxRows: 4, Options: map[string]string{"products": products}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestProductsFastest has the faster of two algorithms in all graphs, and each product measured once.
func TestProductsFastest(t *testing.T) {
	answered(t, "../testdata/encoder", "fp32", "fastest", 2e-4)
	slow, fast := counted(t, "fake_products", 0), counted(t, "fake_products", 1)
	load(t, "fastest")
	slow, fast = counted(t, "fake_products", 0)-slow, counted(t, "fake_products", 1)-fast
	// Two products for each of three buckets, once to be compared and twenty times to be measured, and then in two lanes.
	if slow != 6*21 || fast != 6*23 {
		t.Errorf("%d products by the slow algorithm and %d by the fast one, want %d and %d", slow, fast, 6*21, 6*23)
	}
}

func TestProductsByKernels(t *testing.T) {
	for products, want := range map[string]int{"kernels": 0, "fastest": 2 * 6 * 21} {
		before := used(t)
		answered(t, "../testdata/layers", "fp32", products, 2e-4)
		if n := used(t) - before; n != want {
			t.Errorf("%s: the library has had %d products, want %d", products, n, want)
		}
	}
}

// TestProductsOfAColdDevice has the first kernel measured while the device is slow.
func TestProductsOfAColdDevice(t *testing.T) {
	before := used(t)
	load(t, "fastest")
	if n := used(t) - before; n != 2*6*21 {
		t.Errorf("the library has had %d products, want %d that are measured", n, 2*6*21)
	}
}

func TestProductsWithoutWorkspace(t *testing.T) {
	answered(t, "../testdata/layers", "fp32", "cublaslt", 2e-4)
	if slow, fast := counted(t, "fake_products", 0), counted(t, "fake_products", 1); slow == 0 || fast != 0 {
		t.Errorf("%d products without workspace and %d with it, want none of these", slow, fast)
	}
}

func TestProductsOfTheOther(t *testing.T) {
	answered(t, "../testdata/layers", "fp32", "cublaslt", 2e-4)
	// The wrong one is compared once for each product, and not measured.
	if slow, fast := counted(t, "fake_products", 0), counted(t, "fake_products", 1); slow != 6*23 || fast != 6 {
		t.Errorf("%d products by the right algorithm and %d by the wrong one, want %d and 6", slow, fast, 6*23)
	}
}

// TestProductsRefused has answers where the library gives none.
func TestProductsRefused(t *testing.T) {
	answered(t, "../testdata/layers", "fp32", "cublaslt", 2e-4)
	load(t, "kernels")
}

// TestProductsWhileServing meets products for the first time while other batches are computed, in the same memory.
func TestProductsWhileServing(t *testing.T) {
	b, reference := backend(t), cpu.New(cpu.Options{Threads: 1})
	defer reference.Close()
	defer b.Close()
	spec := backends.Spec{Dir: "../testdata/encoder", MaxRows: 4, Options: map[string]string{"products": "cublaslt"}}
	m, err := b.Load(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	r, err := reference.Load(t.Context(), backends.Spec{Dir: spec.Dir})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for length := range int64(6) {
		all.Go(func() {
			for rows := range int64(4) {
				in := random(r.Signature(), rows+1, length+1)
				want, err := r.Predict(t.Context(), in)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := m.Predict(t.Context(), in)
				if err != nil {
					t.Errorf("%d rows of %d: %v", rows+1, length+1, err)
					return
				}
				if err := differs(got.Tensors[0], want.Tensors[0], 2e-4); err != nil {
					t.Errorf("%d rows of %d: %v", rows+1, length+1, err)
				}
				got.Release()
				want.Release()
			}
		})
	}
	all.Wait()
	if used(t) == 0 {
		t.Error("the library has had no product")
	}
}
