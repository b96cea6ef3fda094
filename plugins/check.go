package plugins

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/thrumserve/thrum/backends"
)

// maxPrecision bounds the name of a precision, which metrics are labelled with.
const maxPrecision = 16

// checkSignature reports a signature that no model can have. Both sides ask: the plugin
// because names come from a model file, the host because it trusts no plugin.
func checkSignature(s backends.Signature) error {
	if err := checkSpecs(s.Inputs, s.Batched); err != nil {
		return fmt.Errorf("input %w", err)
	}
	if err := checkSpecs(s.Outputs, s.Batched); err != nil {
		return fmt.Errorf("output %w", err)
	}
	if !utf8.ValidString(s.Platform) {
		return fmt.Errorf("platform %q is not UTF-8", s.Platform)
	}
	if len(s.Precision) > maxPrecision || !utf8.ValidString(s.Precision) {
		return fmt.Errorf("precision %.32q is not a word of at most %d bytes", s.Precision, maxPrecision)
	}
	return nil
}

// The bounds of what a plugin says of devices, which metrics are labelled with.
const (
	maxDevices     = 64
	maxDeviceText  = 96 // bytes
	maxFigures     = 64
	maxDeviceIndex = 1 << 16
)

// checkDevices reports devices that cannot be, or are too many.
func checkDevices(all []backends.Device) error {
	if len(all) > maxDevices {
		return fmt.Errorf("%d devices, at most %d", len(all), maxDevices)
	}
	seen := make(map[string]bool, len(all))
	for _, d := range all {
		switch {
		case d.ID == "" || seen[d.ID]:
			return fmt.Errorf("device %q is named twice, or not at all", d.ID)
		case d.Number < 0 || d.Number > maxDeviceIndex:
			return fmt.Errorf("device %q has the number %d", d.ID, d.Number)
		case slices.ContainsFunc([]string{d.ID, d.Name, d.Driver}, func(s string) bool { return len(s) > maxDeviceText || !utf8.ValidString(s) }):
			return fmt.Errorf("device %.32q: a text is not UTF-8, or of more than %d bytes", d.ID, maxDeviceText)
		case len(d.Figures) > maxFigures:
			return fmt.Errorf("device %q: %d figures, at most %d", d.ID, len(d.Figures), maxFigures)
		}
		for kind, value := range d.Figures {
			if math.IsNaN(value) || math.IsInf(value, 0) {
				return fmt.Errorf("device %q: %.32q is %v", d.ID, kind, value)
			}
		}
		seen[d.ID] = true
	}
	return nil
}

func checkSpecs(specs []backends.TensorSpec, batched bool) error {
	seen := make(map[string]bool, len(specs))
	for _, s := range specs {
		switch {
		case s.Name == "" || !utf8.ValidString(s.Name):
			return fmt.Errorf("%q: a name is non-empty UTF-8", s.Name)
		case seen[s.Name]:
			return fmt.Errorf("%q is named twice", s.Name)
		case s.Datatype.String() == backends.Invalid.String() || s.Datatype > backends.Bytes:
			return fmt.Errorf("%q: no datatype", s.Name)
		case slices.ContainsFunc(s.Shape, func(d int64) bool { return d < -1 }):
			return fmt.Errorf("%q: shape %v has a dimension below -1", s.Name, s.Shape)
		case batched && (len(s.Shape) == 0 || s.Shape[0] != -1):
			return fmt.Errorf("%q: shape %v does not start with -1, the rows of a batch", s.Name, s.Shape)
		case slices.ContainsFunc(s.Labels, func(l string) bool { return !utf8.ValidString(l) }):
			return fmt.Errorf("%q: a label is not UTF-8", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// checkAnswer reports an answer that does not belong to a request of so many rows: other outputs
// than those that it wants, or one whose datatype, shape, rows or data are not what the signature
// promises. A wrong row count must never hand one user another's answer.
func checkAnswer(s backends.Signature, want []string, rows int, out backends.Batch) error {
	if len(want) == 0 {
		want = outputNames(s)
	}
	if len(out.Tensors) != len(want) {
		return fmt.Errorf("%d outputs instead of %d", len(out.Tensors), len(want))
	}
	for i, t := range out.Tensors {
		if t.Name != want[i] {
			return fmt.Errorf("output %d is %q instead of %q", i, t.Name, want[i])
		}
		spec, _ := s.Output(t.Name)
		if t.Datatype != spec.Datatype {
			return fmt.Errorf("output %q: datatype %v instead of %v", t.Name, t.Datatype, spec.Datatype)
		}
		if !fits(t.Shape, spec.Shape) {
			return fmt.Errorf("output %q: shape %v instead of %v", t.Name, t.Shape, spec.Shape)
		}
		if s.Batched && t.Shape[0] != int64(rows) {
			return fmt.Errorf("output %q: %d rows instead of %d", t.Name, t.Shape[0], rows)
		}
		if err := t.Check(); err != nil {
			return err
		}
	}
	return nil
}

func outputNames(s backends.Signature) []string {
	names := make([]string, len(s.Outputs))
	for i := range s.Outputs {
		names[i] = s.Outputs[i].Name
	}
	return names
}

func fits(shape, spec []int64) bool {
	return slices.EqualFunc(shape, spec, func(have, want int64) bool {
		return have >= 0 && (want < 0 || have == want)
	})
}
