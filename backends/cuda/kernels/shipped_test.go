package kernels_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/kernels/ptx"
)

// image is the PTX that is part of the program.
var image = sync.OnceValues(func() (*ptx.Module, error) {
	data, err := kernels.Image(10, 0)
	if err != nil {
		return nil, err
	}
	return ptx.Parse(data)
})

// interpreter executes it.
var interpreter = sync.OnceValues(func() (*ptx.Device, error) {
	m, err := image()
	if err != nil {
		return nil, err
	}
	return ptx.Open(m, 1), nil
})

const shippedTest = "TestShippedPTX"

// shipped returns the interpreter of PTX for the tests within TestShippedPTX, nil for others.
func shipped(t testing.TB) *ptx.Device {
	t.Helper()
	if !strings.HasPrefix(t.Name(), shippedTest+"/") {
		return nil
	}
	d, err := interpreter()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestShippedPTX holds the PTX that is part of the program to every test of a kernel that the emulation of its
// sources is held to.
func TestShippedPTX(t *testing.T) {
	m, err := image()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		test func(*testing.T)
	}{
		{"Attention", TestAttention}, {"ChainReads", TestChainReads}, {"ChainComputes", TestChainComputes},
		{"ChainOfBytes", TestChainOfBytes}, {"ChainChooses", TestChainChooses}, {"Conv", TestConv}, {"ConvInt8", TestConvInt8},
		{"Pool", TestPool}, {"Gather", TestGather}, {"EmbeddingBags", TestEmbeddingBags},
		{"EmbeddingBagsReportAnIndexOfNoRow", TestEmbeddingBagsReportAnIndexOfNoRow},
		{"MapOfOneOperand", TestMapOfOneOperand}, {"MapOfTwoOperandsBroadcasts", TestMapOfTwoOperandsBroadcasts},
		{"MapWithSpecialNumbers", TestMapWithSpecialNumbers}, {"MapConverts", TestMapConverts}, {"MapCopiesAnyView", TestMapCopiesAnyView},
		{"MapChooses", TestMapChooses}, {"MapOfTruths", TestMapOfTruths}, {"Gemm", TestGemm}, {"GemmInt8", TestGemmInt8},
		{"Quantize", TestQuantize}, {"Dequantize", TestDequantize}, {"Reduce", TestReduce}, {"ArgReduce", TestArgReduce},
		{"TopK", TestTopK}, {"Norm", TestNorm}, {"Softmax", TestSoftmax}, {"Trees", TestTrees},
	}
	ran := 0
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			ran++
			c.test(t)
		})
	}
	instructions, executed := 0, 0
	for _, name := range m.Entries() {
		all, of := m.Coverage(name)
		if all == 0 && ran == len(tests) && !testing.Short() {
			t.Errorf("%s is not executed", name)
		}
		if all > 0 {
			t.Logf("%-22s %5d instructions, %3d %% executed", name, all, 100*of/all)
		}
		instructions, executed = instructions+all, executed+of
	}
	t.Logf("%d kernels, %d instructions, %.1f %% executed", len(m.Entries()), instructions, 100*float64(executed)/float64(max(1, instructions)))
}
