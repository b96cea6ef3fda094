package kernels

import (
	"fmt"
	"math"
	"slices"
)

// What a Chain has at most.
const (
	MaxOperands = 4
	MaxSteps    = 12
	Registers   = 5 // the first of which hold the operands
)

// Places that a Step reads besides registers, which are numbered from 0.
const (
	Result  = Registers + iota // of the step before; as To, no register
	ByAlpha                    // the step's Alpha
	ByBeta                     // the step's Beta
)

// Step is a function of Map whose operands are places. What it makes is also put into a register, if To
// is one.
type Step struct {
	Function    string
	Alpha, Beta float32 // as in Map; of Dequantize, which is (x - Beta)·Alpha, and Quantize, round(x/Alpha) + Beta
	From        [3]int
	To          int
}

// Period is an operand of which element i of a result takes the element at
// i / Divide % Rows · Stride + i % Columns.
type Period struct {
	Address                       uint64
	Type                          Type
	Divide, Rows, Stride, Columns int64
}

// Chain computes each of N elements of Out, which is dense, by steps: what the last one makes. It computes
// in single precision.
type Chain struct {
	N    int64
	Out  uint64
	Type Type // of Out
	In   []Period
	Step []Step
}

// Launch returns how a device computes c.
func (c Chain) Launch() (Launch, error) {
	if err := positive(c.N); err != nil {
		return Launch{}, err
	}
	if len(c.In) < 1 || len(c.In) > MaxOperands || len(c.Step) < 1 || len(c.Step) > MaxSteps {
		return Launch{}, fmt.Errorf("a chain of %d operands and %d steps: at most %d and %d", len(c.In), len(c.Step), MaxOperands, MaxSteps)
	}
	args := cells(nil, c.N, int64(c.Out), int64(c.Type), int64(len(c.Step)))
	for i := range MaxOperands {
		var p Period
		if i < len(c.In) {
			p = c.In[i]
			if err := positive(p.Divide, p.Rows, p.Columns); err != nil || p.Stride < 0 {
				return Launch{}, fmt.Errorf("operand %d repeats as %+v", i, p)
			}
		}
		args = cells(append(args, p.Address), int64(p.Type), p.Divide, p.Rows, p.Stride, p.Columns)
	}
	for i := range MaxSteps {
		var s Step
		if i < len(c.Step) {
			s = c.Step[i]
		}
		code, err := s.code()
		if err != nil {
			return Launch{}, err
		}
		args = append(args, code, uint64(math.Float32bits(s.Alpha))|uint64(math.Float32bits(s.Beta))<<32)
	}
	return flat("chain", ceil(c.N, 8), args)
}

func (s Step) code() (uint64, error) {
	code := slices.Index(functions, s.Function)
	if code < 0 {
		return 0, fmt.Errorf("no kernel computes %q", s.Function)
	}
	all := uint64(code)
	for i, at := range append(s.From[:], s.To) {
		if at < 0 || at > ByBeta {
			return 0, fmt.Errorf("%s reads or writes place %d", s.Function, at)
		}
		all |= uint64(at) << (8 + 3*i)
	}
	return all, nil
}
