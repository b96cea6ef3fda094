package lower

import (
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/backends/cuda/bench/forms"
)

// TestLookups holds models with several tables against the cpu backend, and sees that all tables are read at
// once, by indices that are put in order at once.
func TestLookups(t *testing.T) {
	tables := forms.Recommender{Dense: 5, Tables: []int{10, 3, 100, 7, 1}, Width: 12, Below: []int{16}, Above: []int{8}}
	reference := cpu.New(cpu.Options{Threads: 1})
	defer reference.Close()
	for _, c := range []struct {
		situation string
		form      forms.Model
		want      map[string]int
	}{
		{"rows beside each other", forms.Lookup{Recommender: tables}, map[string]int{"Lookup": 1, "Map": 1}},
		{"sums of rows", forms.Lookup{Recommender: tables, Length: 3}, map[string]int{"Lookup": 1, "Map": 1}},
		{"one table", forms.Rows{Recommender: tables}, map[string]int{"Gather": 1}},
		// The dense inputs are converted and copied beside the rows, and again beside their products, which a
		// gather chooses; what is copied there, too, is what it has chosen.
		{"a recommendation model", tables, map[string]int{"Lookup": 1, "Gather": 1, "Gemm": 5}},
	} {
		dir := t.TempDir()
		if err := forms.Write(dir, c.form); err != nil {
			t.Fatal(err)
		}
		m, err := reference.Load(t.Context(), backends.Spec{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range []int{1, 3, 6} {
			in := c.form.Batch(rows)
			want, err := m.Predict(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			var shapes [][]int64
			for _, in := range in.Tensors {
				shapes = append(shapes, in.Shape)
			}
			p, _, err := prepare(dir, backends.FP16, shapes...)
			if err != nil {
				t.Errorf("%s: %v", c.situation, err)
				continue
			}
			kinds := map[string]int{}
			for _, o := range p.Ops {
				kinds[o.Name()]++
			}
			for kind, n := range c.want {
				if kinds[kind] != n {
					t.Errorf("%s, %d rows: %d × %s, want %d: %v", c.situation, rows, kinds[kind], kind, n, kinds)
				}
			}
			if err := differs(interpret(p, in.Tensors)[0], want.Tensors[0], 2e-2); err != nil {
				t.Errorf("%s, %d rows: %v", c.situation, rows, err)
			}
			want.Release()
		}
	}
}
