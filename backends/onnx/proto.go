package onnx

// The bounds of a file. Memory stays proportional to the file's size because every structure
// below needs several bytes of it and the few that do not are counted against these.
const (
	maxFile  = 2<<30 - 1 // what protobuf itself allows
	maxName  = 1 << 16   // bytes of a name
	maxRank  = 64        // dimensions of a tensor
	maxNodes = 1 << 18   // nodes, subgraphs and inlined functions included
	maxDepth = 8         // subgraphs within subgraphs
	maxLinks = 1 << 20   // inputs, outputs, attributes, tensors and values, together
)

// The messages of onnx.proto, as far as this importer reads them. The numbers are onnx.proto's.

type modelProto struct {
	irVersion int64
	producer  string
	version   string
	graph     *graphProto
	opsets    map[string]int64
	functions []*functionProto
}

type graphProto struct {
	name         string
	nodes        []*nodeProto
	initializers []*tensorProto
	sparse       int
	inputs       []*valueProto
	outputs      []*valueProto
	values       []*valueProto
}

type functionProto struct {
	domain, name, overload string
	inputs, outputs        []string
	attrs                  []string
	defaults               []*attrProto
	nodes                  []*nodeProto
	opsets                 map[string]int64
}

type nodeProto struct {
	name, op, domain, overload string
	inputs, outputs            []string
	attrs                      []*attrProto
	opset                      int64 // 0 where the model's own holds, else that of a function
}

type attrProto struct {
	name    string
	ref     string // the function's attribute that it stands for
	kind    int64
	f       float32
	i       int64
	s       []byte
	t       *tensorProto
	g       *graphProto
	floats  []byte // little-endian
	ints    []int64
	strings [][]byte
	tensors []*tensorProto
}

type tensorProto struct {
	name      string
	dims      []int64
	kind      int64
	raw       []byte
	hasRaw    bool
	floats    []byte // little-endian, as are doubles
	doubles   []byte
	ints      []int64 // int32_data, int64_data or uint64_data
	strings   [][]byte
	external  []entryProto
	isOutside bool
	segmented bool
}

type entryProto struct{ key, value string }

type valueProto struct {
	name     string
	elem     int64
	isTensor bool
	form     string // "sequence", "map", ... where it is no tensor
	hasShape bool
	dims     []dimProto
}

type dimProto struct {
	size   int64
	sized  bool
	symbol string
}
