package config

import "fmt"

// Golden says how near answers have to be to a version's golden set, where that is not what the
// model's precision asks for. Each is a share above 0 and up to 1; package golden defines them.
type Golden struct {
	MinCosine *float64 `yaml:"min_cosine"` // default 0.999 at bf16, 0.99 at int8
	MinEqual  *float64 `yaml:"min_equal"`  // default 0.99 at both
	MinTop1   *float64 `yaml:"min_top1"`   // default none
}

func (g *Golden) check() error {
	if g == nil {
		return nil
	}
	for _, limit := range []struct {
		key   string
		value *float64
	}{{"min_cosine", g.MinCosine}, {"min_equal", g.MinEqual}, {"min_top1", g.MinTop1}} {
		if v := limit.value; v != nil && !(*v > 0 && *v <= 1) {
			return fmt.Errorf("golden.%s %v: use a share above 0 and up to 1, or leave it out", limit.key, *v)
		}
	}
	if *g == (Golden{}) {
		return fmt.Errorf("golden does nothing without min_cosine, min_equal or min_top1: leave it out")
	}
	return nil
}
