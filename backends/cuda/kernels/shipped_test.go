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
	if detectingRaces {
		t.Skip("one goroutine interprets, and slowly: there are no races to be found")
	}
	t.Parallel()
	m, err := image()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		test  func(*testing.T)
		times int // with operands that are drawn anew
	}{
		{"Attention", TestAttention, 1},
		{"ChainReads", TestChainReads, 5}, {"ChainComputes", TestChainComputes, 3}, {"ChainOfLargeAngles", TestChainOfLargeAngles, 1},
		{"ChainOfBytes", TestChainOfBytes, 1}, {"ChainChooses", TestChainChooses, 1},
		{"Conv", TestConv, 1}, {"ConvInt8", TestConvInt8, 1}, {"Pool", TestPool, 5}, {"PoolBytes", TestPoolBytes, 1},
		{"PoolRoundsToEven", TestPoolRoundsToEven, 1},
		{"Gather", TestGather, 1}, {"EmbeddingBags", TestEmbeddingBags, 5}, {"EmbeddingBagsReportAnIndexOfNoRow", TestEmbeddingBagsReportAnIndexOfNoRow, 1},
		{"MapOfOneOperand", TestMapOfOneOperand, 3}, {"MapOfTwoOperandsBroadcasts", TestMapOfTwoOperandsBroadcasts, 2},
		{"MapOfTwoOperandsInVectors", TestMapOfTwoOperandsInVectors, 1}, {"MapOfLargeAngles", TestMapOfLargeAngles, 1},
		{"MapWithSpecialNumbers", TestMapWithSpecialNumbers, 3}, {"MapConverts", TestMapConverts, 1}, {"MapCopiesAnyView", TestMapCopiesAnyView, 1},
		{"MapChooses", TestMapChooses, 1}, {"MapOfTruths", TestMapOfTruths, 1},
		{"Gemm", TestGemm, 1}, {"GemmInt8", TestGemmInt8, 1}, {"Tiles", TestTiles, 1},
		{"Quantize", TestQuantize, 3}, {"Dequantize", TestDequantize, 3}, {"Reduce", TestReduce, 2}, {"ArgReduce", TestArgReduce, 2},
		{"TopK", TestTopK, 1}, {"Norm", TestNorm, 8}, {"Softmax", TestSoftmax, 4}, {"Trees", TestTrees, 2},
	}
	ran := 0
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			ran++
			for range c.times {
				c.test(t)
			}
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
