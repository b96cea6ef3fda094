package kernels

import "testing"

func TestCombineIsEqualAtEveryLevel(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, n := range lengths {
			s := newSource(t, uint64(n))
			a, b := s.odd(n), s.odd(n)
			for op := Add; op <= Min; op++ {
				operands := [][2][]float32{{a, b}}
				if n > 0 {
					operands = append(operands, [2][]float32{a, b[:1]}, [2][]float32{a[n-1:], b})
				}
				for _, o := range operands {
					want := make([]float32, n)
					if n > 0 {
						combinePortable(op, want, o[0], o[1])
					}
					got := s.values(n)
					Combine(op, got, o[0], o[1])
					equalButZeros(t, op, got, want)
					if len(o[0]) == n {
						inPlace := s.copyOf(o[0])
						Combine(op, inPlace, inPlace, o[1])
						equalButZeros(t, op, inPlace, want)
					}
				}
			}
		}
	})
}

// equalButZeros is equal, but lets Max and Min give either zero.
func equalButZeros(t *testing.T, op Operator, got, want []float32) {
	t.Helper()
	if op == Max || op == Min {
		for i := range want {
			if got[i] == 0 && want[i] == 0 {
				got[i] = want[i]
			}
		}
	}
	equal(t, describe(op), got, want)
}
