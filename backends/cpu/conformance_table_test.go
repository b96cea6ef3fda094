package cpu

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// conformanceTarget is the percentage of the cases that count which is to pass.
const conformanceTarget = 85

// result is what became of a case.
type result int

const (
	passed result = iota
	refused
	wrong
	crashed
	results
)

func resultOf(err error) result {
	switch {
	case err == nil:
		return passed
	case errors.Is(err, backends.ErrUnsupported):
		return refused
	case errors.Is(err, errHang), strings.Contains(err.Error(), ") failed: "), strings.Contains(err.Error(), "cannot be built: "):
		return crashed // a panic that the engine has caught, too
	}
	return wrong
}

// conformanceTable counts results by group.
type conformanceTable map[conformanceGroup]*[results]int

type conformanceGroup struct {
	name   string
	counts bool
}

func (t conformanceTable) add(c conformanceCase, r result) {
	g := conformanceGroup{c.Group, c.Counts}
	if t[g] == nil {
		t[g] = new([results]int)
	}
	t[g][r]++
}

func (t conformanceTable) sum(keep func(g conformanceGroup) bool) (all [results]int) {
	for g, row := range t {
		if keep(g) {
			for r, n := range row {
				all[r] += n
			}
		}
	}
	return all
}

// share returns the percentage of the cases that count which have passed.
func (t conformanceTable) share() float64 {
	row := t.sum(func(g conformanceGroup) bool { return g.counts })
	return 100 * float64(row[passed]) / float64(max(1, total(row[:])))
}

func (t conformanceTable) String() string {
	var b strings.Builder
	line := func(name string, row [results]int) {
		fmt.Fprintf(&b, "%-34s %6d %7d %8d %6d %8d\n", name, total(row[:]), row[passed], row[refused], row[wrong], row[crashed])
	}
	fmt.Fprintf(&b, "%-34s %6s %7s %8s %6s %8s\n", "group", "cases", "passed", "refused", "wrong", "crashed")
	for _, counts := range []bool{true, false} {
		groups := slices.Collect(maps.Keys(t))
		slices.SortFunc(groups, func(a, b conformanceGroup) int { return strings.Compare(a.name, b.name) })
		for _, g := range groups {
			if g.counts == counts {
				line(g.name, *t[g])
			}
		}
		name := "all that count"
		if !counts {
			name = "all that do not count"
		}
		line(name, t.sum(func(g conformanceGroup) bool { return g.counts == counts }))
		b.WriteString("\n")
	}
	verdict := "held"
	if t.share() < conformanceTarget {
		verdict = "missed"
	}
	fmt.Fprintf(&b, "measured %.1f %%, target %d %%: %s\n", t.share(), conformanceTarget, verdict)
	return b.String()
}

func TestConformanceTable(t *testing.T) {
	table := conformanceTable{}
	for i, err := range []error{
		nil, nil, backends.Errorf(backends.ErrUnsupported, "no"), errors.New("element 1 is 2, want 3"), errHang,
		errors.New(`node "x" (Add) failed: index out of range`),
	} {
		table.add(conformanceCase{Group: "some", Counts: i < 5}, resultOf(err))
	}
	want := []string{
		"some                                    5       2        1      1        1",
		"all that do not count                   1       0        0      0        1",
		"measured 40.0 %, target 85 %: missed",
	}
	for _, line := range want {
		if !strings.Contains(table.String(), line+"\n") {
			t.Errorf("table has no line %q:\n%s", line, table)
		}
	}
}
