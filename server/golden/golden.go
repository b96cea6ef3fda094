// Package golden replays a version's golden set: inputs that its author stored with the
// outputs of a reference runtime. A version that answers them otherwise does not serve.
package golden

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/oip"
)

// File is the name of a golden set in a version's folder.
const File = "golden.json"

// Set is a golden set. Inputs and outputs are tensors in the protocol's JSON form.
type Set struct {
	Source    string    `json:"source"` // the reference runtime, such as "onnxruntime 1.31.1"
	Tolerance Tolerance `json:"tolerance"`
	Cases     []Case    `json:"cases"`
}

// Tolerance is how far a floating-point element may be from the reference:
// |have − want| ≤ Abs + Rel·|want|. All other elements must be equal.
type Tolerance struct {
	Abs float64 `json:"abs"`
	Rel float64 `json:"rel"`
}

// Case is one request with its answer.
type Case struct {
	Name    string          `json:"name"`
	Inputs  json.RawMessage `json:"inputs"`
	Outputs json.RawMessage `json:"outputs"`
}

// maxSize bounds a golden set; it is read whole.
const maxSize = 64 << 20

// Read reads the golden set in dir. A version without one gives an empty set.
func Read(dir string) (Set, error) {
	path := filepath.Join(dir, File)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Set{}, nil
	}
	if err != nil {
		return Set{}, err
	}
	if !info.Mode().IsRegular() {
		return Set{}, backends.Errorf(backends.ErrInvalid, "%s is not a regular file", path)
	}
	if info.Size() > maxSize {
		return Set{}, backends.Errorf(backends.ErrInvalid, "%s: %d bytes, at most %d: keep fewer cases", path, info.Size(), maxSize)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Set{}, err
	}
	var s Set
	if err := json.Unmarshal(text, &s); err != nil {
		return Set{}, backends.Errorf(backends.ErrInvalid, "%s: %w", path, err)
	}
	return s, nil
}

// Check asks p for every case and returns how far its answers are from those of the reference.
// Answers that are further away than l allows are an ErrInvalid that names the figure and the
// setting. An empty set measures nothing.
func (s Set) Check(ctx context.Context, sig backends.Signature, p backends.Predictor, l Limits) (catalog.Accuracy, error) {
	gauges := map[string]*gauge{}
	for _, c := range s.Cases {
		if err := s.check(ctx, c, sig, p, l, gauges); err != nil {
			return catalog.Accuracy{}, fmt.Errorf("golden case %q: %w", c.Name, err)
		}
	}
	a := catalog.Accuracy{Reference: s.Source, Cases: len(s.Cases)}
	for _, o := range sig.Outputs {
		g, ok := gauges[o.Name]
		if !ok {
			continue
		}
		measured := catalog.OutputAccuracy{Name: o.Name, Figures: g.figures()}
		if err := l.check(measured, sig.Precision); err != nil {
			return catalog.Accuracy{}, err
		}
		a.Outputs = append(a.Outputs, measured)
	}
	return a, nil
}

// check adds what a case says to the gauges of its outputs.
func (s Set) check(ctx context.Context, c Case, sig backends.Signature, p backends.Predictor, l Limits, gauges map[string]*gauge) error {
	in, err := c.tensors(c.Inputs, sig)
	if err != nil {
		return err
	}
	// The outputs have the form of inputs, so that a signature that takes what the model
	// gives reads them.
	want, err := c.tensors(c.Outputs, backends.Signature{Inputs: sig.Outputs, Batched: sig.Batched})
	if err != nil {
		return err
	}
	have, err := p.Predict(ctx, in)
	if err != nil {
		return err
	}
	defer have.Release()
	for _, w := range want.Tensors {
		h, ok := have.Tensor(w.Name)
		if !ok {
			return backends.Errorf(backends.ErrInvalid, "the answer lacks output %q", w.Name)
		}
		if h.Datatype != w.Datatype || !slices.Equal(h.Shape, w.Shape) {
			return backends.Errorf(backends.ErrInvalid, "output %q is %v%v, want %v%v", w.Name, h.Datatype, h.Shape, w.Datatype, w.Shape)
		}
		if l.Elementwise {
			if err := s.Tolerance.compare(h, w); err != nil {
				return err
			}
		}
		if gauges[w.Name] == nil {
			gauges[w.Name] = newGauge(s.Tolerance.Abs)
		}
		gauges[w.Name].add(h, w)
	}
	return nil
}

func (c Case) tensors(list json.RawMessage, sig backends.Signature) (backends.Batch, error) {
	body, err := json.Marshal(map[string]json.RawMessage{"inputs": list})
	if err != nil {
		return backends.Batch{}, backends.Errorf(backends.ErrInvalid, "%w", err)
	}
	request, err := oip.Decode(body, -1, sig)
	return request.Batch, err
}

func (t Tolerance) compare(have, want backends.Tensor) error {
	read := reader(want.Datatype)
	if read == nil {
		if string(have.Data) != string(want.Data) {
			return backends.Errorf(backends.ErrInvalid, "output %q differs from the reference", want.Name)
		}
		return nil
	}
	size := want.Datatype.Size()
	for i := 0; i < len(want.Data); i += size {
		h, w := read(have.Data[i:]), read(want.Data[i:])
		if !(math.Abs(h-w) <= t.Abs+t.Rel*math.Abs(w)) && cmp.Compare(h, w) != 0 {
			return backends.Errorf(backends.ErrInvalid, "output %q element %d is %g, the reference gave %g (tolerance %g + %g relative)",
				want.Name, i/size, h, w, t.Abs, t.Rel)
		}
	}
	return nil
}

// reader returns how to read a floating-point element, or nil for datatypes whose elements are
// equal or not.
func reader(d backends.Datatype) func([]byte) float64 {
	switch d {
	case backends.FP32:
		return func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }
	case backends.FP64:
		return func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
	}
	return nil
}
