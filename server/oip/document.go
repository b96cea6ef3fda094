package oip

import (
	"strings"

	"github.com/thrumserve/thrum/backends"
)

// Server is the server's metadata document.
type Server struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

// Model is a model's metadata document.
type Model struct {
	Name     string   `json:"name"`
	Versions []string `json:"versions"`
	Platform string   `json:"platform"`
	Inputs   []Tensor `json:"inputs"`
	Outputs  []Tensor `json:"outputs"`

	Parameters *ModelParameters `json:"parameters,omitempty"`
}

// ModelParameters is what this server says of a model beyond the protocol, where it leaves room
// for that.
type ModelParameters struct {
	Precision string  `json:"precision,omitempty"` // such as "bf16"
	Golden    *Golden `json:"golden"`
}

// Golden is how far a model's answers to its golden set are from the reference's. Without a set
// nothing is measured, and nothing but that is said.
type Golden struct {
	Measured  bool                          `json:"measured"`
	Reference string                        `json:"reference,omitempty"`
	Cases     int                           `json:"cases,omitempty"`
	Outputs   map[string]map[string]float64 `json:"outputs,omitempty"` // by name and kind
}

// Tensor describes an input or output; -1 in its shape is a dimension that varies.
type Tensor struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

// IndexEntry is a line of the repository index.
type IndexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	State   string `json:"state,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Describe returns the tensors of one side of a signature.
func Describe(specs []backends.TensorSpec) []Tensor {
	all := make([]Tensor, len(specs))
	for i, s := range specs {
		all[i] = Tensor{Name: s.Name, Datatype: s.Datatype.String(), Shape: s.Shape}
		if s.Shape == nil {
			all[i].Shape = []int64{}
		}
	}
	return all
}

// Error returns the body of every answer that is not a success.
func Error(text string) []byte {
	body := appendQuoted([]byte(`{"error":`), strings.ToValidUTF8(text, "?"))
	return append(body, '}')
}
