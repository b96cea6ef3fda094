package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Versions says which of a model's versions to serve: `latest`, `latest: 2`, `all`, or a list
// such as [1, 3].
type Versions struct {
	Latest int     // the highest so many
	All    bool    // every one
	Only   []int64 // just these
}

func (v Versions) isZero() bool { return v.Latest == 0 && !v.All && v.Only == nil }

// Select returns the versions of present, in ascending order, that are to be served. Missing
// holds listed versions that are not present.
func (v Versions) Select(present []int64) (selected, missing []int64) {
	present = slices.Sorted(slices.Values(present))
	switch {
	case v.All:
		return present, nil
	case v.Only != nil:
		for _, n := range slices.Compact(slices.Sorted(slices.Values(v.Only))) {
			if slices.Contains(present, n) {
				selected = append(selected, n)
			} else {
				missing = append(missing, n)
			}
		}
		return selected, missing
	}
	return present[max(0, len(present)-max(1, v.Latest)):], nil
}

// UnmarshalYAML reads any of the forms.
func (v *Versions) UnmarshalYAML(n *yaml.Node) error {
	var word string
	var list []int64
	var latest struct {
		Latest int `yaml:"latest"`
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Decode(&word) == nil && word == "latest":
		v.Latest = 1
		return nil
	case n.Kind == yaml.ScalarNode && word == "all":
		v.All = true
		return nil
	case n.Kind == yaml.SequenceNode && n.Decode(&list) == nil && len(list) > 0 && slices.Min(list) > 0:
		v.Only = list
		return nil
	case n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "latest" && n.Decode(&latest) == nil && latest.Latest > 0:
		v.Latest = latest.Latest
		return nil
	}
	return fmt.Errorf("line %d: versions: use latest, {latest: 2}, all, or a list such as [1, 3]", n.Line)
}
