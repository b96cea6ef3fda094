//go:build !purego

package kernels

import "testing"

func TestTilesNeedProcessorSystemAndPermission(t *testing.T) {
	const all = 0x600e7
	for _, situation := range []struct {
		name      string
		processor bool
		enabled   uint32
		permitted bool
		want      bool
		asked     bool
	}{
		{"all there", true, all, true, true, true},
		{"a processor without", false, all, true, false, false},
		{"a system that saves no tiles", true, 0xe7, true, false, false},
		{"a system that saves sizes only", true, all &^ (1 << 18), true, false, false},
		{"a system that saves tiles without sizes", true, all &^ (1 << 17), true, false, false},
		{"a system that refuses", true, all, false, false, true},
	} {
		t.Run(situation.name, func(t *testing.T) {
			asked := false
			s := tileSupport{
				processor: situation.processor,
				enabled:   func() uint32 { return situation.enabled },
				permit: func() bool {
					asked = true
					return situation.permitted
				},
			}
			if got := s.usable(); got != situation.want || asked != situation.asked {
				t.Errorf("usable() = %v, asked %v, want %v and %v", got, asked, situation.want, situation.asked)
			}
		})
	}
}
