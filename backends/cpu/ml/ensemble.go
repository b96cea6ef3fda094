package ml

// Ensemble holds the attributes of TreeEnsemble: nodes of all trees in one list, leaves in
// another. A node's yes and no are indices of leaves where the flag beside them is not 0.
type Ensemble[T Float] struct {
	Roots             []int64
	FeatureIDs        []int64
	Modes             []uint8
	Splits            []T
	TrueIDs, FalseIDs []int64
	TrueLeafs         []int64
	FalseLeafs        []int64
	MissingTrue       []int64 // may be shorter: the rest is 0
	Members           []T     // the sets of the Member nodes in order, each ended by a NaN
	LeafTargets       []int64
	LeafWeights       []T
}

// Forest returns the trees that e describes, for that many targets. Lists of unequal lengths,
// nodes that are children of two others and numbers that are out of range are an ErrInvalid.
func (e Ensemble[T]) Forest(targets int64) (*Forest[T], error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	t := trees[T]{targets: targets, splits: make([]split[T], len(e.Splits))}
	for i, target := range e.LeafTargets {
		if target < 0 || target >= min(targets, maxNodes) {
			return nil, invalid("a leaf has a weight for target %d: there are %d", target, targets)
		}
		t.leaves = append(t.leaves, []weight[T]{{int32(target), e.LeafWeights[i]}})
	}
	sets := e.Members
	for i := range t.splits {
		s, err := e.split(i)
		if err != nil {
			return nil, err
		}
		if s.mode == Member {
			end := 0
			for end < len(sets) && sets[end] == sets[end] {
				end++
			}
			s.members = members(sets[:end])
			sets = sets[min(end+1, len(sets)):]
		}
		t.splits[i] = s
	}
	for _, root := range e.Roots {
		if root < 0 || root >= int64(len(t.splits)) {
			return nil, invalid("tree_roots has %d: there are %d nodes", root, len(t.splits))
		}
		t.roots = append(t.roots, int32(root))
	}
	return plant(t)
}

func (e Ensemble[T]) check() error {
	want := len(e.Splits)
	for name, have := range map[string]int{
		"nodes_featureids": len(e.FeatureIDs), "nodes_modes": len(e.Modes), "nodes_truenodeids": len(e.TrueIDs),
		"nodes_falsenodeids": len(e.FalseIDs), "nodes_trueleafs": len(e.TrueLeafs), "nodes_falseleafs": len(e.FalseLeafs),
	} {
		if have != want {
			return invalid("%d %s for %d nodes_splits: they need the same length", have, name, want)
		}
	}
	if len(e.MissingTrue) > want {
		return invalid("%d nodes_missing_value_tracks_true for %d nodes", len(e.MissingTrue), want)
	}
	if len(e.LeafTargets) != len(e.LeafWeights) {
		return invalid("%d leaf_targetids for %d leaf_weights: they need the same length", len(e.LeafTargets), len(e.LeafWeights))
	}
	if want == 0 || want > maxNodes || len(e.LeafWeights) > maxNodes || len(e.Roots) == 0 {
		return invalid("%d trees of %d nodes and %d leaves: 1 to %d can be", len(e.Roots), want, len(e.LeafWeights), maxNodes)
	}
	return nil
}

// split returns node i.
func (e Ensemble[T]) split(i int) (split[T], error) {
	if e.Modes[i] > uint8(Member) {
		return split[T]{}, invalid("nodes_modes has %d: there are 0 to %d", e.Modes[i], Member)
	}
	yes, err := e.child(e.TrueIDs[i], e.TrueLeafs[i])
	if err != nil {
		return split[T]{}, err
	}
	no, err := e.child(e.FalseIDs[i], e.FalseLeafs[i])
	if err != nil {
		return split[T]{}, err
	}
	return split[T]{
		mode: Mode(e.Modes[i]), feature: e.FeatureIDs[i], value: e.Splits[i],
		missing: i < len(e.MissingTrue) && e.MissingTrue[i] != 0, yes: yes, no: no,
	}, nil
}

func (e Ensemble[T]) child(id, leaf int64) (int32, error) {
	if leaf != 0 {
		if id < 0 || id >= int64(len(e.LeafWeights)) {
			return 0, invalid("a node leads to leaf %d: there are %d", id, len(e.LeafWeights))
		}
		return ^int32(id), nil
	}
	if id < 0 || id >= int64(len(e.Splits)) {
		return 0, invalid("a node leads to node %d: there are %d", id, len(e.Splits))
	}
	return int32(id), nil
}
