package cpu

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends/onnx"
)

var writeDoc = flag.Bool("write", false, "write docs/operators.md anew")

// TestOperatorTable holds docs/operators.md to what the importer and this backend know.
func TestOperatorTable(t *testing.T) {
	const name = "../../docs/operators.md"
	table := operatorTable(t)
	if *writeDoc {
		if err := os.WriteFile(name, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != table {
		t.Errorf("%s is not what the code says: run go generate ./backends/cpu", name)
	}
}

// standardOperator is an operator of the ONNX standard.
type standardOperator struct {
	domain, name string
	opsets       []int64 // that define it anew
	removed      int64   // the opset without it, or 0
}

func standardOperators(t *testing.T) []standardOperator {
	text, err := os.ReadFile("../onnx/testdata/standard.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []standardOperator
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if words[0] == "#" {
			continue
		}
		o := standardOperator{domain: strings.TrimPrefix(words[0], "ai.onnx"), name: words[1]}
		if o.domain != "" {
			o.domain = words[0]
		}
		for _, w := range words[2:] {
			n, err := strconv.ParseInt(w, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if n < 0 {
				o.removed = -n
				continue
			}
			o.opsets = append(o.opsets, n)
		}
		all = append(all, o)
	}
	return all
}

func operatorTable(t *testing.T) string {
	known := map[[2]string]onnx.Operator{}
	for _, o := range onnx.Operators() {
		known[[2]string{o.Domain, o.Op}] = o
	}
	var b strings.Builder
	b.WriteString(`# Operators

<!-- Written by go generate ./backends/cpu; do not edit. -->

The operators of the ONNX standard that the cpu backend runs, and at which opsets of a model. What is refused is refused when the model is
loaded, by the name of the operator and of its node; so is an element type or an attribute that an operator is not offered with. Values are
tensors: no sequences, optionals or maps, and of types that the Open Inference Protocol has.

`)
	supported, all := 0, 0
	for _, domain := range []string{"", "ai.onnx.ml"} {
		fmt.Fprintf(&b, "## %s\n\n| operator | defined at opsets | runs at opsets |\n|---|---|---|\n", standardName(domain))
		for _, o := range standardOperators(t) {
			if o.domain != domain {
				continue
			}
			all++
			status := "refused"
			if k, ok := known[[2]string{domain, o.name}]; ok {
				if op, ok := domains[domain][o.name]; ok {
					supported++
					status = fmt.Sprintf("%d to %d", max(k.First, op.since), k.Last)
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", o.name, opsetsText(o), status)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%d of %d operators run.\n\n", supported, all)
	names := slices.Sorted(maps.Keys(contrib))
	fmt.Fprintf(&b, "Of %s those run that ONNX Runtime's quantisation tools write: %s.\n", onnx.Contrib, strings.Join(names, ", "))
	return b.String()
}

func standardName(domain string) string {
	if domain == "" {
		return "ai.onnx"
	}
	return domain
}

func opsetsText(o standardOperator) string {
	var words []string
	for _, n := range o.opsets {
		words = append(words, strconv.FormatInt(n, 10))
	}
	if o.removed > 0 {
		words = append(words, fmt.Sprintf("removed at %d", o.removed))
	}
	return strings.Join(words, ", ")
}

func TestOperatorsOfTheEngineAreKnownToTheImporter(t *testing.T) {
	known := map[string]bool{}
	for _, o := range onnx.Operators() {
		known[o.Domain+" "+o.Op] = true
	}
	for _, domain := range []string{"", "ai.onnx.ml", onnx.Contrib} {
		for name := range domains[domain] {
			if !known[domain+" "+name] {
				t.Errorf("operator %s of %s is built but never loaded", name, standardName(domain))
			}
			delete(known, domain+" "+name)
		}
	}
	for name := range known {
		t.Errorf("operator %s is loaded but never built", name)
	}
}
