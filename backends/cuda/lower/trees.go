package lower

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// Forest is the tables of a set of trees. Nodes are numbered from 0; a child below zero is the
// complement of a leaf.
type Forest struct {
	Nodes   []kernels.TreeNode
	Roots   []int32
	Ends    []int32 // by leaf: where its weights end; they begin where those of the leaf before end
	Targets []int32 // by weight
	Weights []float32

	Scores    int64 // per row
	Aggregate string
	Absent    float32 // the score of what no leaf speaks of
}

// place is a node of a tree as files name it.
type place struct{ tree, node int64 }

// forest reads the tables of a TreeEnsembleClassifier or TreeEnsembleRegressor, in which the names of
// what leaves hold begin with prefix.
func (c *call) forest(prefix string, scores int64) (*Forest, error) {
	trees, nodes := c.list("nodes_treeids", -1), c.list("nodes_nodeids", -1)
	features, modes := c.list("nodes_featureids", -1), attribute[[]string](c, "nodes_modes", nil)
	limits, yes, no := attribute[[]float32](c, "nodes_values", nil), c.list("nodes_truenodeids", -1), c.list("nodes_falsenodeids", -1)
	missing := c.list("nodes_missing_value_tracks_true", -1)
	n := len(nodes)
	if n == 0 || len(trees) != n || len(features) != n || len(modes) != n || len(limits) != n || len(yes) != n || len(no) != n || missing != nil && len(missing) != n {
		return nil, fmt.Errorf("its tables of nodes are not equally long, or not of single precision")
	}
	f := &Forest{Scores: scores, Aggregate: c.text("aggregate_function", "SUM")}
	at, leaves := map[place]int32{}, []place{}
	for i := range n {
		p := place{trees[i], nodes[i]}
		if _, twice := at[p]; twice {
			return nil, fmt.Errorf("node %d of tree %d is there twice", p.node, p.tree)
		}
		if modes[i] == "LEAF" {
			at[p] = ^int32(len(leaves))
			leaves = append(leaves, p)
			continue
		}
		at[p] = int32(len(f.Nodes))
		mode := slices.Index(kernels.Comparisons, modes[i])
		if mode < 0 || features[i] < 0 || features[i] >= 1<<28 {
			return nil, fmt.Errorf("a node's mode is %q, and its feature %d", modes[i], features[i])
		}
		f.Nodes = append(f.Nodes, kernels.TreeNode{
			Feature: int32(features[i]), Mode: uint8(mode), MissingTrue: missing != nil && missing[i] != 0, Limit: limits[i],
		})
	}
	child := map[place]bool{}
	for i := range n {
		if modes[i] == "LEAF" {
			continue
		}
		branch := &f.Nodes[at[place{trees[i], nodes[i]}]]
		for to, id := range map[*int32]int64{&branch.Yes: yes[i], &branch.No: no[i]} {
			p := place{trees[i], id}
			entry, ok := at[p]
			if !ok || id == nodes[i] {
				return nil, fmt.Errorf("node %d of tree %d leads to node %d, which is not there", nodes[i], trees[i], id)
			}
			child[p] = true
			*to = entry
		}
	}
	for i := range n {
		if p := (place{trees[i], nodes[i]}); !child[p] {
			f.Roots = append(f.Roots, at[p])
		}
	}
	return f, f.weigh(c, prefix, leaves)
}

// weigh reads what leaves hold.
func (f *Forest) weigh(c *call, prefix string, leaves []place) error {
	trees, nodes, ids := c.list(prefix+"_treeids", -1), c.list(prefix+"_nodeids", -1), c.list(prefix+"_ids", -1)
	weights := attribute[[]float32](c, prefix+"_weights", nil)
	if len(trees) != len(nodes) || len(ids) != len(nodes) || len(weights) != len(nodes) {
		return fmt.Errorf("its tables of weights are not equally long, or not of single precision")
	}
	held := map[place][]int{}
	for i := range nodes {
		if ids[i] < 0 || ids[i] >= f.Scores {
			return fmt.Errorf("a leaf holds a weight for target %d of %d", ids[i], f.Scores)
		}
		p := place{trees[i], nodes[i]}
		held[p] = append(held[p], i)
	}
	for _, leaf := range leaves {
		for _, i := range held[leaf] {
			f.Targets, f.Weights = append(f.Targets, int32(ids[i])), append(f.Weights, weights[i])
		}
		f.Ends = append(f.Ends, int32(len(f.Weights)))
	}
	return f.acyclic()
}

// acyclic refuses what is no tree: a walk from a root that is longer than there are nodes would never
// end on the device.
func (f *Forest) acyclic() error {
	seen := make([]bool, len(f.Nodes))
	var walk []int32
	walk = append(walk, f.Roots...)
	for len(walk) > 0 {
		n := walk[len(walk)-1]
		walk = walk[:len(walk)-1]
		if n < 0 {
			continue
		}
		if seen[n] {
			return fmt.Errorf("a node is the child of two nodes")
		}
		seen[n] = true
		walk = append(walk, f.Nodes[n].No)
		if f.Nodes[n].Yes != f.Nodes[n].No {
			walk = append(walk, f.Nodes[n].Yes)
		}
	}
	for n, s := range seen {
		if !s {
			return fmt.Errorf("no root leads to node %d", n)
		}
	}
	return nil
}

// features returns how many columns a row needs.
func (f *Forest) features() int64 {
	n := int64(0)
	for _, node := range f.Nodes {
		n = max(n, int64(node.Feature)+1)
	}
	return n
}

// grow computes the scores of rows.
func (c *call) grow(f *Forest) (Tensor, error) {
	x := c.in(0)
	if c.err != nil || len(x.Shape) != 2 || x.Shape[1] < f.features() {
		return x, errOr(c.err, fmt.Errorf("its input has shape %v, and nodes look at %d columns", x.Shape, f.features()))
	}
	x = c.dense(c.as(x, backends.FP32))
	out := newTensor(backends.FP32, []int64{x.Shape[0], f.Scores})
	return c.add(Trees{f.Aggregate, int64(len(f.Roots)), f.Absent}, out, append([]Tensor{x}, f.tables(c.forestKey())...)...), nil
}

// forestKey tells the tables of a node from others: graphs share them.
func (c *call) forestKey() string {
	return fmt.Sprintf("%p", attribute[[]float32](c, "nodes_values", nil))
}

// based adds the base values to scores.
func (c *call) based(scores Tensor) (Tensor, error) {
	base := attribute[[]float32](c, "base_values", nil)
	if len(base) == 0 {
		return scores, nil
	}
	n := scores.Shape[1]
	if int64(len(base)) != n {
		return scores, fmt.Errorf("%d base values for %d scores", len(base), n)
	}
	terms := floats(c.forestKey()+" base", backends.FP32, []int64{1, n}, func() []float32 { return base })
	return c.apply(Map{Function: "Add"}, backends.FP32, scores.Shape, scores, terms), nil
}

// transformed does to scores what a node says.
func (c *call) transformed(scores Tensor) (Tensor, error) {
	switch t := c.text("post_transform", "NONE"); t {
	case "NONE":
		return scores, nil
	case "LOGISTIC":
		return c.apply(Map{Function: "Sigmoid"}, backends.FP32, scores.Shape, scores), nil
	case "SOFTMAX":
		return c.add(Softmax{}, newTensor(backends.FP32, scores.Shape), scores), nil
	default:
		return scores, fmt.Errorf("its post_transform is %s", t)
	}
}

func lowerTreeRegressor(c *call) error {
	f, err := c.forest("target", c.int("n_targets", 1))
	if err != nil {
		return err
	}
	scores, err := c.grow(f)
	if err != nil {
		return err
	}
	if scores, err = c.based(scores); err != nil {
		return err
	}
	scores, err = c.transformed(scores)
	return errOr(err, c.give(scores))
}

// lowerTreeClassifier lowers a classifier. The device gives the numbers of classes that have names.
func lowerTreeClassifier(c *call) error {
	names := attribute[[]string](c, "classlabels_strings", nil)
	if len(names) == 0 {
		return c.classify(c.list("classlabels_int64s", -1))
	}
	numbers := make([]int64, len(names))
	for i := range numbers {
		numbers[i] = int64(i)
	}
	err := c.classify(numbers)
	if err == nil {
		c.names[c.out[0].Buffer] = names
	}
	return err
}

// classify gives one of the labels, and scores.
func (c *call) classify(labels []int64) error {
	if len(labels) < 2 {
		return fmt.Errorf("it has %d classes", len(labels))
	}
	f, err := c.forest("class", int64(len(labels)))
	if err != nil {
		return err
	}
	base := attribute[[]float32](c, "base_values", nil)
	if n := len(base); n != 0 && n != len(labels) && (n != 1 || len(labels) != 2) {
		return fmt.Errorf("it has %d base values for %d classes", n, len(labels))
	}
	switch {
	case len(base) == 0 && f.alwaysSeen(), len(base) > 2: // what has a base value has a score
		return c.classifyAll(f, labels)
	case len(labels) > 2:
		return c.classifySome(f, labels)
	case f.only(0) && len(base) < 2:
		return c.classifyOne(f, labels, base)
	}
	return c.classifyTwo(f, labels, base)
}

// classifySome chooses among the classes that the leaves of a row speak of. The others score 0.
func (c *call) classifySome(f *Forest, labels []int64) error {
	f.Absent = float32(math.Inf(-1))
	scores, err := c.grow(f)
	if err != nil {
		return err
	}
	rows := scores.Shape[0]
	class := newTensor(backends.Int64, []int64{rows})
	flat, _ := class.reshape([]int64{rows, 1})
	c.add(ArgReduce{}, flat, c.shaped(scores, rows, f.Scores, 1))
	seen, _ := c.spoken(scores)
	out, err := c.transformed(seen)
	return errOr(err, c.give(c.label(class, labels), out))
}

// spoken returns scores with 0 for those of which no leaf has spoken, and of which one has.
func (c *call) spoken(scores Tensor) (given, seen Tensor) {
	seen = c.apply(Map{Function: "Greater"}, backends.Bool, scores.Shape, scores, c.scalar(float32(math.Inf(-1)), backends.FP32))
	return c.apply(Map{Function: "Where"}, backends.FP32, scores.Shape, seen, scores, c.scalar(0, backends.FP32)), seen
}

// classifyTwo decides between two classes of which leaves may speak or not, as ONNX Runtime does: where
// none speaks of the second, the score of the first is that of the second, and where there are two base
// values, the second is added to the score of the first for both.
func (c *call) classifyTwo(f *Forest, labels []int64, base []float32) error {
	f.Absent = float32(math.Inf(-1))
	scores, err := c.grow(f)
	if err != nil {
		return err
	}
	first, firstSeen := c.spoken(scores.narrow(1, 0, 1, 1))
	second, secondSeen := c.spoken(scores.narrow(1, 1, 1, 1))
	column, zero := first.Shape, c.scalar(0, backends.FP32)
	where := func(is, a, b Tensor) Tensor {
		return c.apply(Map{Function: "Where"}, backends.FP32, column, is, a, b)
	}
	plus := func(t Tensor, v float32) Tensor {
		return c.apply(Map{Function: "Add"}, backends.FP32, column, t, c.scalar(v, backends.FP32))
	}
	switch len(base) {
	case 1:
		first = plus(first, base[0])
	case 2:
		both := plus(first, base[1])
		first = where(secondSeen, c.apply(Map{Function: "Neg"}, backends.FP32, column, both), plus(first, base[0]))
		second = where(secondSeen, both, zero)
	}
	if len(base) > 0 { // a score of which no leaf speaks is 0, whatever its base value
		first = where(firstSeen, first, zero)
	}
	class := c.enough(where(secondSeen, second, first), f)
	pair := newTensor(backends.FP32, scores.Shape)
	c.add(Map{}, pair.narrow(1, 0, 1, 1), first)
	c.add(Map{}, pair.narrow(1, 1, 1, 1), second)
	out, err := c.transformed(pair)
	if err != nil {
		return err
	}
	if len(base) < 2 {
		out = c.apply(Map{Function: "Where"}, backends.FP32, scores.Shape, secondSeen, out, c.opposed(first, f))
	}
	return c.give(c.label(class, labels), out)
}

// enough returns 1 for rows whose score makes their class the second one, of two, and 0 for the others.
func (c *call) enough(score Tensor, f *Forest) Tensor {
	least := float32(0)
	if f.probable() {
		least = 0.5
	}
	class := c.apply(Map{Function: "Greater"}, backends.Bool, score.Shape, score, c.scalar(least, backends.FP32))
	return c.shaped(c.as(class, backends.Int64), score.Shape[0])
}

// opposed makes the scores of two classes of that of the second: with its complement if it is a probability or
// becomes one, and else with its negative.
func (c *call) opposed(score Tensor, f *Forest) Tensor {
	whole := c.scalar(0, backends.FP32)
	if f.probable() {
		whole = c.scalar(1, backends.FP32)
	}
	if c.text("post_transform", "NONE") == "LOGISTIC" {
		whole = c.scalar(1, backends.FP32)
		score = c.apply(Map{Function: "Sigmoid"}, backends.FP32, score.Shape, score)
	}
	out := newTensor(backends.FP32, []int64{score.Shape[0], 2})
	c.add(Map{Function: "Sub"}, out.narrow(1, 0, 1, 1), whole.expand(score.Shape), score)
	c.add(Map{}, out.narrow(1, 1, 1, 1), score)
	return out
}

// probable says that a score is a probability: leaves speak of one class alone, and no weight is negative.
func (f *Forest) probable() bool {
	return len(f.Targets) > 0 && f.only(f.Targets[0]) && !slices.ContainsFunc(f.Weights, func(w float32) bool { return w < 0 })
}

// classifyAll chooses among classes of which each has a score.
func (c *call) classifyAll(f *Forest, labels []int64) error {
	scores, err := c.grow(f)
	if err != nil {
		return err
	}
	if scores, err = c.based(scores); err != nil {
		return err
	}
	rows := scores.Shape[0]
	class := newTensor(backends.Int64, []int64{rows})
	if f.Scores == 2 { // as ONNX Runtime decides
		class = c.enough(scores.narrow(1, 1, 1, 1), f)
	} else {
		flat, _ := class.reshape([]int64{rows, 1})
		c.add(ArgReduce{}, flat, c.shaped(scores, rows, f.Scores, 1))
	}
	out, err := c.transformed(scores)
	return errOr(err, c.give(c.label(class, labels), out))
}

// classifyOne decides by the score of the first of two classes, where leaves speak of no other.
func (c *call) classifyOne(f *Forest, labels []int64, base []float32) error {
	if t := c.text("post_transform", "NONE"); t == "PROBIT" { // of the others, LOGISTIC alone is made of one score
		return fmt.Errorf("its post_transform is %s", t)
	}
	f.Scores = 1
	if len(base) > 0 && !f.alwaysSeen() {
		f.Absent = float32(math.Inf(-1))
	}
	score, err := c.grow(f)
	if err != nil {
		return err
	}
	if len(base) > 0 {
		score = c.apply(Map{Function: "Add"}, backends.FP32, score.Shape, score, c.scalar(base[0], backends.FP32))
	}
	if f.Absent != 0 { // a score of which no leaf speaks is 0, whatever its base value
		score, _ = c.spoken(score)
	}
	return c.give(c.label(c.enough(score, f), labels), c.opposed(score, f))
}

// label makes labels of the numbers of classes.
func (c *call) label(class Tensor, labels []int64) Tensor {
	plain := true
	for i, v := range labels {
		plain = plain && v == int64(i)
	}
	if plain {
		return class
	}
	table := NewWeight(c.forestKey()+" labels", backends.Int64, []int64{1, int64(len(labels)), 1}, func() []byte {
		var b []byte
		for _, v := range labels {
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
		return b
	})
	out := newTensor(backends.Int64, class.Shape)
	flat, _ := out.reshape([]int64{1, class.Shape[0], 1})
	c.add(Gather{}, flat, table, class)
	return out
}

// only says that leaves hold weights for that target alone.
func (f *Forest) only(target int32) bool {
	for _, t := range f.Targets {
		if t != target {
			return false
		}
	}
	return true
}

// alwaysSeen says that for each target there is a tree every leaf of which speaks of it.
func (f *Forest) alwaysSeen() bool {
	always := map[int32]bool{}
	for _, root := range f.Roots {
		held, leaves := map[int32]int{}, 0
		for walk := []int32{root}; len(walk) > 0; {
			n := walk[len(walk)-1]
			walk = walk[:len(walk)-1]
			if n >= 0 {
				walk = append(walk, f.Nodes[n].Yes, f.Nodes[n].No)
				continue
			}
			leaves++
			for t := range f.targetsOf(^n) {
				held[t]++
			}
		}
		for t, n := range held {
			if n == leaves {
				always[t] = true
			}
		}
	}
	return int64(len(always)) == f.Scores
}

// targetsOf returns the targets that a leaf holds weights for.
func (f *Forest) targetsOf(leaf int32) map[int32]bool {
	from := int32(0)
	if leaf > 0 {
		from = f.Ends[leaf-1]
	}
	all := map[int32]bool{}
	for _, t := range f.Targets[from:f.Ends[leaf]] {
		all[t] = true
	}
	return all
}

// tables returns the weights that the kernel reads.
func (f *Forest) tables(key string) []Tensor {
	words := func(name string, all []int32) Tensor {
		return NewWeight(key+name, backends.Int32, []int64{int64(len(all))}, func() []byte {
			var b []byte
			for _, v := range all {
				b = binary.LittleEndian.AppendUint32(b, uint32(v))
			}
			return b
		})
	}
	singles := func(name string, all []float32) Tensor {
		return floats(key+name, backends.FP32, []int64{int64(len(all))}, func() []float32 { return all })
	}
	nodes := NewWeight(key+" nodes", backends.Uint8, []int64{max(int64(len(f.Nodes)), 1), kernels.TreeNodeSize}, func() []byte {
		var b []byte
		for _, n := range f.Nodes {
			b = n.Append(b)
		}
		return append(b, make([]byte, kernels.TreeNodeSize)...)[:max(len(b), kernels.TreeNodeSize)] // a device has no empty memory
	})
	return []Tensor{nodes, words(" roots", f.Roots), words(" ends", f.Ends), words(" targets", f.Targets), singles(" weights", f.Weights)}
}
