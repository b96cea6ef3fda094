package onnx

import (
	"io"
	"os"

	"github.com/thrumserve/thrum/backends"
)

// Load reads the model in dir/file, checks it and infers the types and shapes of its values.
// Nothing outside dir is read, by whatever link or path. Damage and contradictions are an
// ErrInvalid, and what thrum does not offer is an ErrUnsupported; both name the value, or the
// operator with its node and opset.
//
// Initializers are constants even where the file also lists them as graph inputs; such inputs
// are dropped. The data of a constant may lie at any address and must not be written to.
//
// Nodes that no output needs are dropped, calls of model-local functions are replaced by the
// function's nodes, and an If whose condition is known from constants and static shapes by
// the branch that it takes. An If, Loop or Scan that stays lists what its subgraphs read of the
// graphs around them after its own inputs. Shapes that the file declares for values inside the graph and for
// outputs are compared with the inferred ones and never believed beyond their rank.
func Load(dir, file string) (*Graph, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "model folder: %w", err)
	}
	defer root.Close()
	data, err := readModel(root, file)
	if err != nil {
		return nil, err
	}
	files := newExternalFiles(root)
	defer files.close()
	return parse(data, files)
}

func readModel(root *os.Root, name string) ([]byte, error) {
	f, size, err := openRegular(root, name)
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "model file: %w", err)
	}
	defer f.Close()
	if size > maxFile {
		return nil, backends.Errorf(backends.ErrInvalid,
			"model file %q has %d bytes, at most %d: keep the weights as external data", name, size, maxFile)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "model file: %w", err)
	}
	return data, nil
}

// parse turns the bytes of a model into a graph; the graph keeps data.
func parse(data []byte, files *externalFiles) (*Graph, error) {
	m, err := (&decoder{}).model(data)
	if err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if err := inlineFunctions(m); err != nil {
		return nil, err
	}
	b := builder{opsets: m.opsets, files: files, names: map[string]bool{}}
	g, err := b.graph(m.graph, nil)
	if err != nil {
		return nil, err
	}
	g.Producer = joinWords(m.producer, m.version)
	g.Opsets = m.opsets
	if err := g.infer(); err != nil {
		return nil, err
	}
	g.tidy()
	return g, nil
}

// The versions that are read.
const (
	maxIR      = 14
	minOpset   = 7
	maxOpset   = 28
	maxMLOpset = 5
)

func (m *modelProto) check() error {
	if m.graph == nil {
		return damaged("it holds no graph")
	}
	if m.irVersion < 1 {
		return damaged("it has no IR version")
	}
	if m.irVersion > maxIR {
		return backends.Errorf(backends.ErrUnsupported, "IR version %d is newer than %d: export with an older onnx package", m.irVersion, maxIR)
	}
	if len(m.opsets) == 0 {
		m.opsets[""] = 1
	}
	return checkOpsets(m.opsets)
}

// checkOpsets looks at the domains that this importer knows; another one is refused only
// where an operator of it is needed.
func checkOpsets(opsets map[string]int64) error {
	if v, ok := opsets[""]; ok && (v < minOpset || v > maxOpset) {
		return backends.Errorf(backends.ErrUnsupported, "ai.onnx opset %d is not supported: export with opset %d to %d", v, minOpset, maxOpset)
	}
	if v, ok := opsets["ai.onnx.ml"]; ok && (v < 1 || v > maxMLOpset) {
		return backends.Errorf(backends.ErrUnsupported, "ai.onnx.ml opset %d is not supported: export with opset 1 to %d", v, maxMLOpset)
	}
	return nil
}

func joinWords(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}
