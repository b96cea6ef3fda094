package ml

import "math"

// NodeTable holds the nodes of all trees, as TreeEnsembleClassifier and TreeEnsembleRegressor
// list them: one entry of every slice for each node.
type NodeTable[T Float] struct {
	TreeIDs, NodeIDs  []int64
	FeatureIDs        []int64
	Modes             []string
	Values            []T
	TrueIDs, FalseIDs []int64
	MissingTrue       []int64 // may be shorter: the rest is 0
}

// WeightTable holds the weights of the leaves of all trees.
type WeightTable[T Float] struct {
	TreeIDs, NodeIDs []int64
	Targets          []int64
	Values           []T
}

// NewForest returns the trees that the tables describe, for that many targets or classes. A
// tree begins at the first of its nodes that is no other's child. Tables of unequal lengths,
// nodes that are listed twice, missing, or children of two others, and numbers that are out
// of range are an ErrInvalid.
func NewForest[T Float](n NodeTable[T], w WeightTable[T], targets int64) (*Forest[T], error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	index, err := n.index()
	if err != nil {
		return nil, err
	}
	t := trees[T]{targets: targets}
	refs := t.number(n)
	if err := t.readNodes(n, index, refs); err != nil {
		return nil, err
	}
	if err := t.readWeights(w, index, refs); err != nil {
		return nil, err
	}
	if err := t.findRoots(n, refs); err != nil {
		return nil, err
	}
	return plant(t)
}

func (n NodeTable[T]) check() error {
	want := len(n.TreeIDs)
	for name, have := range map[string]int{
		"nodes_nodeids": len(n.NodeIDs), "nodes_featureids": len(n.FeatureIDs), "nodes_modes": len(n.Modes),
		"nodes_values": len(n.Values), "nodes_truenodeids": len(n.TrueIDs), "nodes_falsenodeids": len(n.FalseIDs),
	} {
		if have != want {
			return invalid("%d %s for %d nodes_treeids: they need the same length", have, name, want)
		}
	}
	if len(n.MissingTrue) > want {
		return invalid("%d nodes_missing_value_tracks_true for %d nodes", len(n.MissingTrue), want)
	}
	if want == 0 || want > maxNodes {
		return invalid("%d nodes in the trees: 1 to %d can be", want, maxNodes)
	}
	return nil
}

func (w WeightTable[T]) check() error {
	if n := len(w.TreeIDs); len(w.NodeIDs) != n || len(w.Targets) != n || len(w.Values) != n {
		return invalid("%d tree ids, %d node ids, %d target or class ids and %d weights: they need the same length",
			n, len(w.NodeIDs), len(w.Targets), len(w.Values))
	}
	return nil
}

// nodeID names a node in a file.
type nodeID struct{ tree, node int64 }

// index returns where in the table each node is.
func (n NodeTable[T]) index() (map[nodeID]int, error) {
	at := make(map[nodeID]int, len(n.TreeIDs))
	for i, tree := range n.TreeIDs {
		id := nodeID{tree, n.NodeIDs[i]}
		if _, twice := at[id]; twice {
			return nil, invalid("node %d of tree %d is listed twice", id.node, id.tree)
		}
		at[id] = i
	}
	return at, nil
}

const leafMode = "LEAF"

// number gives each node of n its reference: splits and leaves count by themselves. It makes
// room for both.
func (t *trees[T]) number(n NodeTable[T]) (refs []int32) {
	refs = make([]int32, len(n.Modes))
	splits, leaves := int32(0), int32(0)
	for i, mode := range n.Modes {
		if mode == leafMode {
			refs[i] = ^leaves
			leaves++
		} else {
			refs[i] = splits
			splits++
		}
	}
	t.splits, t.leaves = make([]split[T], splits), make([][]weight[T], leaves)
	return refs
}

func (t *trees[T]) readNodes(n NodeTable[T], index map[nodeID]int, refs []int32) error {
	child := func(i int, node int64) (int32, error) {
		c, ok := index[nodeID{n.TreeIDs[i], node}]
		if !ok {
			return 0, invalid("node %d of tree %d leads to node %d, which the tree lacks", n.NodeIDs[i], n.TreeIDs[i], node)
		}
		return refs[c], nil
	}
	for i, name := range n.Modes {
		if name == leafMode {
			continue
		}
		mode, ok := modes[name]
		if !ok {
			return invalid("nodes_modes has %q: use BRANCH_LEQ, BRANCH_LT, BRANCH_GTE, BRANCH_GT, BRANCH_EQ, BRANCH_NEQ or LEAF", name)
		}
		yes, err := child(i, n.TrueIDs[i])
		if err != nil {
			return err
		}
		no, err := child(i, n.FalseIDs[i])
		if err != nil {
			return err
		}
		t.splits[refs[i]] = split[T]{
			mode: mode, feature: n.FeatureIDs[i], value: n.Values[i],
			missing: i < len(n.MissingTrue) && n.MissingTrue[i] != 0, yes: yes, no: no,
		}
	}
	return nil
}

func (t *trees[T]) readWeights(w WeightTable[T], index map[nodeID]int, refs []int32) error {
	for i, tree := range w.TreeIDs {
		at, ok := index[nodeID{tree, w.NodeIDs[i]}]
		if !ok {
			return invalid("a weight is for node %d of tree %d, which there is not", w.NodeIDs[i], tree)
		}
		if refs[at] >= 0 {
			continue // a branch: nothing ends there
		}
		if w.Targets[i] < 0 || w.Targets[i] >= min(t.targets, maxNodes) {
			return invalid("a leaf has a weight for target or class %d: there are %d", w.Targets[i], t.targets)
		}
		leaf := ^refs[at]
		t.leaves[leaf] = append(t.leaves[leaf], weight[T]{int32(w.Targets[i]), w.Values[i]})
	}
	return nil
}

// findRoots gives each tree, in the order in which the file begins them, its root.
func (t *trees[T]) findRoots(n NodeTable[T], refs []int32) error {
	child := map[int32]bool{}
	for i := range t.splits {
		child[t.splits[i].yes], child[t.splits[i].no] = true, true
	}
	begun := map[int64]int{}
	for i, tree := range n.TreeIDs {
		at, ok := begun[tree]
		if !ok {
			at = len(t.roots)
			begun[tree] = at
			t.roots = append(t.roots, noRoot)
		}
		if t.roots[at] == noRoot && !child[refs[i]] {
			t.roots[at] = refs[i]
		}
	}
	for tree, at := range begun {
		if t.roots[at] == noRoot {
			return invalid("tree %d has no root: each of its nodes is the child of another", tree)
		}
	}
	return nil
}

const noRoot = math.MaxInt32
