package oip

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// Tolerance is how far a floating-point element may be from the one that is right:
// |have − want| ≤ Abs + Rel·|want|. NaN equals NaN. All other elements must be equal.
type Tolerance struct {
	Abs float64 `json:"abs"`
	Rel float64 `json:"rel"`
}

// Compare reports the first element of want that have has otherwise; tensors are found by their
// names, and have may hold more of them. All have passed Check, as decoded ones have.
func (t Tolerance) Compare(have, want []Tensor) error {
	for _, w := range want {
		i := slices.IndexFunc(have, func(h Tensor) bool { return h.Name == w.Name })
		if i < 0 {
			return fmt.Errorf("output %q is missing", w.Name)
		}
		if err := t.compare(have[i], w); err != nil {
			return err
		}
	}
	return nil
}

func (t Tolerance) compare(have, want Tensor) error {
	if have.Datatype != want.Datatype || !slices.Equal(have.Shape, want.Shape) {
		return fmt.Errorf("output %q is %s%v, want %s%v", want.Name, have.Datatype, have.Shape, want.Datatype, want.Shape)
	}
	if bytes.Equal(have.Data, want.Data) {
		return nil
	}
	d, all := want.Datatype, collect(have)
	for i, w := range want.elements() {
		if h := all[i]; !t.equal(d, h, w) {
			return fmt.Errorf("output %q element %d is %s, want %s%s", want.Name, i, describe(d, h), describe(d, w), t.text(d))
		}
	}
	return nil
}

func collect(t Tensor) [][]byte {
	var all [][]byte
	for _, e := range t.elements() {
		all = append(all, e)
	}
	return all
}

func (t Tolerance) equal(d Datatype, have, want []byte) bool {
	if !d.Float() || bytes.Equal(have, want) {
		return bytes.Equal(have, want)
	}
	h, w := float(d, have), float(d, want)
	switch {
	case math.IsNaN(w):
		return math.IsNaN(h)
	case math.IsInf(w, 0):
		return h == w // infinitely far is within no tolerance
	}
	return math.Abs(h-w) <= t.Abs+t.Rel*math.Abs(w)
}

func (t Tolerance) text(d Datatype) string {
	if !d.Float() {
		return ""
	}
	return fmt.Sprintf(" (tolerance %g + %g relative)", t.Abs, t.Rel)
}
