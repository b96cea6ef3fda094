package ml

import (
	"math"
	"slices"
)

// Mode is how a node compares a feature with its value.
type Mode uint8

// The modes, numbered as TreeEnsemble numbers them.
const (
	LessOrEqual Mode = iota
	Less
	GreaterOrEqual
	Greater
	Equal
	NotEqual
	Member // equal to one of a set
)

// modes are their names in TreeEnsembleClassifier and TreeEnsembleRegressor, which have no Member.
var modes = map[string]Mode{
	"BRANCH_LEQ": LessOrEqual, "BRANCH_LT": Less, "BRANCH_GTE": GreaterOrEqual,
	"BRANCH_GT": Greater, "BRANCH_EQ": Equal, "BRANCH_NEQ": NotEqual,
}

// split is a branch of a tree as a file describes it. yes and no are indices of splits, or
// the complements of indices of leaves.
type split[T Float] struct {
	mode    Mode
	feature int64
	value   T
	members []T
	missing bool // a NaN goes to yes
	yes, no int32
}

// size returns how many nodes s becomes.
func (s *split[T]) size() int {
	switch {
	case s.mode == Member:
		return max(1, 3*len(s.members)-1)
	case (s.mode == Equal || s.mode == NotEqual) && s.value == s.value:
		return 2
	}
	return 1
}

// nodes receives what splits become: nodes of a single kind. at is where the next one lies.
type nodes[T Float] struct {
	all      []node[T]
	nanToYes []bool
	at       int32
}

// add appends a node that sends x to yes if x <= limit and to no otherwise, and NaN where nanToYes says.
func (w *nodes[T]) add(feature int64, limit T, yes, no int32, nanToYes bool) {
	w.all[w.at] = node[T]{limit: limit, feature: int32(feature), next: [2]int32{no, yes}}
	w.nanToYes[w.at] = nanToYes
	w.at++
}

// write appends the nodes that s becomes, every comparison turned into x <= limit. yes and no
// are where it leads. A NaN fails every comparison but NotEqual.
func (s *split[T]) write(w *nodes[T], yes, no int32) {
	never := T(math.NaN())
	switch {
	case s.mode == Member:
		s.writeMembers(w, s.members, yes, no)
	case s.value != s.value && s.mode == NotEqual:
		w.add(s.feature, never, yes, yes, true)
	case s.value != s.value:
		w.add(s.feature, never, yes, no, s.missing)
	case s.mode == LessOrEqual:
		w.add(s.feature, s.value, yes, no, s.missing)
	case s.mode == Less:
		w.add(s.feature, below(s.value), yes, no, s.missing)
	case s.mode == Greater:
		w.add(s.feature, s.value, no, yes, !s.missing)
	case s.mode == GreaterOrEqual:
		w.add(s.feature, below(s.value), no, yes, !s.missing)
	case s.mode == Equal:
		s.writeEqual(w, s.value, yes, no, s.missing)
	case s.mode == NotEqual:
		s.writeEqual(w, s.value, no, yes, false)
	}
}

func (s *split[T]) writeEqual(w *nodes[T], v T, yes, no int32, nanToYes bool) {
	w.add(s.feature, v, w.at+1, no, nanToYes)
	w.add(s.feature, below(v), no, yes, false)
}

// writeMembers appends a search tree over members, which are in order. A NaN runs down its
// right side to the last member, where the test for equality sends it the right way.
func (s *split[T]) writeMembers(w *nodes[T], members []T, yes, no int32) {
	switch len(members) {
	case 0:
		w.add(s.feature, T(math.NaN()), yes, no, s.missing)
		return
	case 1:
		s.writeEqual(w, members[0], yes, no, s.missing)
		return
	}
	half := len(members) / 2
	left := w.at + 1
	right := left + int32(3*half-1)
	w.add(s.feature, members[half-1], left, right, false)
	s.writeMembers(w, members[:half], yes, no)
	s.writeMembers(w, members[half:], yes, no)
}

// members returns the distinct values of a set in order, without NaN, which equals nothing.
func members[T Float](values []T) []T {
	set := slices.DeleteFunc(slices.Clone(values), func(v T) bool { return v != v })
	slices.Sort(set)
	return slices.Compact(set)
}

// below returns the largest number less than v, and NaN below minus infinity, so that
// x <= below(v) just where x < v.
func below[T Float](v T) T {
	if math.IsInf(float64(v), -1) {
		return T(math.NaN())
	}
	if v32, ok := any(v).(float32); ok {
		return T(math.Nextafter32(v32, float32(math.Inf(-1))))
	}
	return T(math.Nextafter(float64(v), math.Inf(-1)))
}
