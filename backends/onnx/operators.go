package onnx

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/thrumserve/thrum/backends"
)

// Operator is an operator that the importer knows.
type Operator struct {
	Domain      string // "" is ai.onnx
	Op          string
	First, Last int64 // the opsets of the domain at which it can be used
}

// Operators returns the operators that the importer knows, by domain and name. An engine may
// offer fewer.
func Operators() []Operator {
	var all []Operator
	for id, versions := range schemas() {
		o := Operator{Domain: id.domain, Op: id.op, First: 1, Last: maxMLOpset}
		switch id.domain {
		case "":
			o.First, o.Last = minOpset, maxOpset
		case Contrib:
			o.Last = 1
		}
		o.First = max(o.First, versions[0].since)
		if last := versions[len(versions)-1]; last.removed {
			o.Last = last.since - 1
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Operator) int {
		return strings.Compare(a.Domain+" "+a.Op, b.Domain+" "+b.Op)
	})
	return all
}

//go:embed operators.txt
var operatorsText string

//go:embed contrib.txt
var contribText string

// opID names an operator whatever its version.
type opID struct{ domain, op string }

// schema is what the standard says of an operator from one opset on.
type schema struct {
	since   int64
	removed bool
	inputs  []param
	outputs []param
	attrs   map[string]attrSpec
	types   map[string]typeSet // by type variable
}

// param is an input or output. Its type is a datatype, a type variable, "any" or "other".
type param struct {
	typ      string
	optional bool
	variadic bool
}

type attrSpec struct {
	kind     string
	required bool
}

// typeSet has the bit 1<<d for every datatype d in it.
type typeSet uint32

func (s typeSet) has(d backends.Datatype) bool { return s>>d&1 == 1 }

// only returns the one datatype of a set that has one.
func (s typeSet) only() (backends.Datatype, bool) {
	for d := backends.Bool; d <= backends.Bytes; d++ {
		if s == 1<<d {
			return d, true
		}
	}
	return backends.Invalid, false
}

func (s typeSet) String() string {
	var all []string
	for d := backends.Bool; d <= backends.Bytes; d++ {
		if s.has(d) {
			all = append(all, d.String())
		}
	}
	return strings.Join(all, ", ")
}

var shortTypes = map[string]backends.Datatype{
	"bool": backends.Bool, "u8": backends.Uint8, "u16": backends.Uint16, "u32": backends.Uint32, "u64": backends.Uint64,
	"i8": backends.Int8, "i16": backends.Int16, "i32": backends.Int32, "i64": backends.Int64, "f16": backends.FP16,
	"f32": backends.FP32, "f64": backends.FP64, "bf16": backends.BF16, "str": backends.Bytes,
}

// schemas returns the versions of every operator, ascending.
var schemas = sync.OnceValue(func() map[opID][]*schema {
	all := map[opID][]*schema{}
	for line := range strings.Lines(operatorsText + contribText) {
		if words := strings.Fields(line); words[0] != "#" {
			id := opID{canonicalDomain(words[0]), words[1]}
			all[id] = append(all[id], parseSchema(words[2:]))
		}
	}
	return all
})

func parseSchema(words []string) *schema {
	since, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		panic(err)
	}
	s := &schema{since: since, attrs: map[string]attrSpec{}, types: map[string]typeSet{}}
	params := &s.inputs
	for _, w := range words[1:] {
		if name, kind, ok := strings.Cut(w, "="); ok {
			s.attrs[strings.TrimSuffix(name, "!")] = attrSpec{kind, strings.HasSuffix(name, "!")}
		} else if name, list, ok := strings.Cut(w, ":"); ok {
			s.types[name] = parseTypes(list)
		} else if w == "->" {
			params = &s.outputs
		} else if w == "removed" {
			s.removed = true
		} else {
			*params = append(*params, param{strings.TrimRight(w, "?*"), strings.Contains(w, "?"), strings.HasSuffix(w, "*")})
		}
	}
	return s
}

func parseTypes(list string) typeSet {
	var s typeSet
	for name := range strings.SplitSeq(list, "|") {
		s |= 1 << shortTypes[name]
	}
	return s
}

// schemaOf returns the schema that holds for a node, or why there is none.
func schemaOf(n *Node) (*schema, error) {
	versions, ok := schemas()[opID{n.Domain, n.Op}]
	switch {
	case n.Domain != "" && n.Domain != "ai.onnx.ml" && n.Domain != Contrib:
		return nil, Unsupported(n, "operators of this domain are not supported")
	case !ok:
		return nil, Unsupported(n, "the operator is not supported")
	case n.Opset == 0:
		return nil, invalid(n, "the model does not import the domain")
	}
	var found *schema
	for _, s := range versions {
		if s.since <= n.Opset {
			found = s
		}
	}
	switch {
	case found == nil:
		return nil, invalid(n, "the operator exists from opset %d on", versions[0].since)
	case found.removed:
		return nil, invalid(n, "the operator was removed in opset %d", found.since)
	}
	return found, nil
}

// check compares a node's arity and attributes with the schema.
func (s *schema) check(n *Node) error {
	if err := checkArity(n, "input", s.inputs, n.Arguments()); err != nil {
		return err
	}
	if err := checkArity(n, "output", s.outputs, n.Outputs); err != nil {
		return err
	}
	for name, value := range n.Attrs {
		spec, ok := s.attrs[name]
		if !ok {
			return invalid(n, "the operator has no attribute %q at this opset", name)
		}
		if have := attrKind(value); have != spec.kind {
			return invalid(n, "attribute %q is of kind %s, %s expected", name, kindNames[have], kindNames[spec.kind])
		}
	}
	for name, spec := range s.attrs {
		if _, ok := n.Attrs[name]; spec.required && !ok {
			return invalid(n, "attribute %q is missing", name)
		}
	}
	return nil
}

func checkArity(n *Node, what string, params []param, values []*Value) error {
	for i, p := range params {
		if !p.optional && (i >= len(values) || values[i] == nil) {
			return invalid(n, "%s %d is missing", what, i)
		}
	}
	variadic := len(params) > 0 && params[len(params)-1].variadic
	if len(values) > len(params) && !variadic {
		return invalid(n, "%d %ss, at most %d at this opset", len(values), what, len(params))
	}
	return nil
}

// at returns the parameter of position i, which a variadic last one may cover.
func at(params []param, i int) param { return params[min(i, len(params)-1)] }

// attrKind returns the kind of an attribute's value as operators.txt writes it.
func attrKind(value any) string {
	switch value.(type) {
	case float32:
		return "f"
	case int64:
		return "i"
	case string:
		return "s"
	case *backends.Tensor:
		return "t"
	case *Graph:
		return "g"
	case []float32:
		return "fs"
	case []int64:
		return "is"
	case []string:
		return "ss"
	}
	return "ts"
}

var kindNames = map[string]string{
	"f": "FLOAT", "i": "INT", "s": "STRING", "t": "TENSOR", "g": "GRAPH",
	"fs": "FLOATS", "is": "INTS", "ss": "STRINGS", "ts": "TENSORS",
}
