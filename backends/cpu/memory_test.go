package cpu

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// poison fills the memory that no value lies in.
func (r *run) poison() {
	for i := range r.arena.mem {
		r.arena.mem[i] = 0xff // a NaN, and -1
	}
}

func exampleModel(t testing.TB, name string) *model {
	t.Helper()
	b := New(Options{Threads: 2})
	t.Cleanup(func() { b.Close() })
	m, err := b.Load(t.Context(), backends.Spec{Dir: filepath.Join(exampleModels, name, "1")})
	if err != nil {
		t.Fatal(err)
	}
	return m.(*model)
}

// rowsFor returns n rows for a model, of numbers that depend on the seed.
func rowsFor(s backends.Signature, n int64, seed float64) backends.Batch {
	var b backends.Batch
	for _, spec := range s.Inputs {
		shape := slices.Clone(spec.Shape)
		for i, d := range shape {
			if d < 0 {
				shape[i] = n
			}
		}
		t := wave(spec.Name, seed, shape...)
		if spec.Datatype == backends.Int64 {
			t = integers64(spec.Name, shape, make([]int64, backends.Elements(shape))...)
		}
		b.Tensors = append(b.Tensors, t)
	}
	return b
}

func TestPoisonedMemoryChangesNothing(t *testing.T) {
	for _, name := range []string{"digits", "tumor", "yarnit"} {
		m := exampleModel(t, name)
		for seed := range 4 {
			for _, rows := range []int64{1, 7, 2} {
				in := rowsFor(m.signature, rows, float64(seed))
				var want []backends.Tensor
				{
					var a answer // in memory that has not been used before
					if err := m.plan.compute(t.Context(), m.plan.newRun(m.engine), in, &a); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					want = a.tensors
				}
				got, err := m.Predict(t.Context(), in)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for i := range want {
					if !slices.Equal(got.Tensors[i].Data, want[i].Data) || !slices.Equal(got.Tensors[i].Shape, want[i].Shape) {
						t.Errorf("%s, %d rows: output %q differs in memory that has been used before", name, rows, want[i].Name)
					}
				}
				got.Release()
				for _, r := range m.runs.idle {
					r.poison()
				}
				for _, a := range m.answers.idle {
					fill(a.mem, 0xff)
				}
			}
		}
	}
}

func TestPredictionsOfAKnownShapeAllocateNothing(t *testing.T) {
	if detectingRaces {
		t.Skip("pools forget some of what they are given while races are looked for")
	}
	// Sums of bags that several tables share still take some for each.
	for name, most := range map[string]float64{"digits": 0, "tumor": 0, "yarnit": 48} {
		m := exampleModel(t, name)
		for _, rows := range []int64{1, 8} {
			in := rowsFor(m.signature, rows, 1)
			predict := func() {
				out, err := m.Predict(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				out.Release()
			}
			for range 3 { // what it does is seen and recorded
				predict()
			}
			if n := testing.AllocsPerRun(100, predict); n > most {
				t.Errorf("%s, %d rows: %v allocations in a prediction, want at most %v", name, rows, n, most)
			}
		}
	}
}

// branching is a model that takes other memory where cond is false: n numbers are doubled, then
// negated or added to 8n others.
func branching(t *testing.T) *model {
	t.Helper()
	var s sketch
	cond := s.input("cond", backends.Bool)
	x := s.input("x", backends.FP32, -1)
	y := s.node("Add", nil, x, x)
	shorter := s.within(func() { s.output(s.node("Add", nil, s.node("Exp", nil, s.node("Neg", nil, y)), y)) })
	longer := s.within(func() {
		eight := s.node("Concat", map[string]any{"axis": int64(0)}, y, y, y, y, y, y, y, y)
		s.output(s.node("ReduceMax", map[string]any{"keepdims": int64(1)}, s.node("Add", nil, eight, s.number(1))))
	})
	n := s.control("If", map[string]any{"then_branch": shorter, "else_branch": longer}, slices.Clone(s.Values[1:3]), cond)
	chosen := n.Outputs[0]
	chosen.Datatype = backends.FP32
	s.output(s.node("Neg", nil, s.node("Add", nil, s.node("Neg", nil, chosen), y)))
	s.output(y)
	p, r := planOf(t, &s)
	return newModel(s.Signature(), p, r.engine)
}

func TestExecutionsThatDoSomethingElseAreRight(t *testing.T) {
	m := branching(t)
	for turn := range 3 * maxRecords {
		short := turn%3 > 0
		in := backends.Batch{Tensors: []backends.Tensor{bools("cond", 0), wave("x", float64(turn), 100)}}
		in.Tensors[0].Shape = nil
		if short {
			in.Tensors[0].Data[0] = 1
		}
		got, err := m.Predict(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		top := float32(math.Inf(-1))
		for _, v := range floatsOf(in.Tensors[1]) {
			top = max(top, 2*v+1)
		}
		for i, v := range floatsOf(in.Tensors[1]) {
			y := 2 * v
			chosen := top
			if short {
				chosen = float32(math.Exp(float64(-y))) + y
			}
			if have, want := floatsOf(got.Tensors[0])[i], chosen-y; math.Abs(float64(have-want)) > 1e-5*(1+math.Abs(float64(chosen))) {
				t.Fatalf("turn %d: element %d is %v, want %v", turn, i, have, want)
			}
			if have := floatsOf(got.Tensors[1])[i]; have != y {
				t.Fatalf("turn %d: element %d of the second output is %v, want %v", turn, i, have, y)
			}
		}
		got.Release()
		for _, r := range m.runs.idle {
			r.poison()
		}
	}
}

func TestWhatIsNotReleasedIsNotUsedAgain(t *testing.T) {
	m := twice(t)
	var kept []backends.Batch
	for i := range 40 {
		got, err := m.Predict(t.Context(), backends.Batch{Tensors: []backends.Tensor{wave("x", float64(i), 3, 4)}})
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			kept = append(kept, got)
		} else {
			got.Release()
		}
	}
	for i, b := range kept {
		for j, v := range floatsOf(wave("x", float64(2*i), 3, 4)) {
			if have := floatsOf(b.Tensors[0])[j]; have != 2*v {
				t.Fatalf("answer %d: element %d has become %v, want %v", 2*i, j, have, 2*v)
			}
		}
		b.Release()
	}
	if n := len(m.answers.idle); n != maxAnswers {
		t.Errorf("%d answers are kept, want %d", n, maxAnswers)
	}
}

func TestBucketsAreBounded(t *testing.T) {
	m := twice(t)
	predict := func(rows int64) {
		out, err := m.Predict(t.Context(), backends.Batch{Tensors: []backends.Tensor{wave("x", 1, rows, 4)}})
		if err != nil {
			t.Fatal(err)
		}
		out.Release()
	}
	for rows := range int64(3 * maxBuckets) {
		predict(rows)
		predict(5)
	}
	all := m.plan.buckets.all
	if len(all) != maxBuckets || !slices.Equal(all[0].key, []int{2, 5, 4}) || all[0].records.Load() != 1 {
		t.Errorf("%d buckets, the last used %v with %d layouts, want %d, [2 5 4] with 1", len(all), all[0].key, all[0].records.Load(), maxBuckets)
	}
}

func TestArenasAreCountedAndBounded(t *testing.T) {
	var p plan
	runs := make([]run, 5)
	for i := range runs {
		runs[i].arena.all = &p.arenas
		runs[i].arena.reserve(maxArenas / 4)
	}
	if n := p.arenas.Load(); n != maxArenas || len(runs[4].arena.mem) != 0 {
		t.Errorf("%d bytes of arenas, the last one of %d, want %d and 0", n, len(runs[4].arena.mem), maxArenas)
	}
	b := runs[4].take(100)
	if b.inside || len(b.mem) != 100 {
		t.Errorf("a block of %d bytes, in the arena %v, want 100 of the heap", len(b.mem), b.inside)
	}
	for i := range runs {
		runs[i].arena.free()
		runs[i].arena.free()
	}
	if n := p.arenas.Load(); n != 0 {
		t.Errorf("%d bytes of arenas after all were freed", n)
	}
}

func TestIdleRunsAreBounded(t *testing.T) {
	m := twice(t)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for range 20 {
				out, err := m.Predict(t.Context(), backends.Batch{Tensors: []backends.Tensor{wave("x", 1, int64(1+i), 4)}})
				if err != nil {
					t.Error(err)
					return
				}
				out.Release()
			}
		})
	}
	all.Wait()
	held := 0
	for _, r := range m.runs.idle {
		held += len(r.arena.mem)
	}
	if have := m.plan.arenas.Load(); int(have) != held {
		t.Errorf("%d bytes of arenas are counted, %d are held by %d runs", have, held, len(m.runs.idle))
	}
	if m.runs.free(); m.plan.arenas.Load() != 0 {
		t.Errorf("%d bytes of arenas are left", m.plan.arenas.Load())
	}
}

func BenchmarkPredict(b *testing.B) {
	for _, name := range []string{"digits", "tumor", "yarnit"} {
		m := exampleModel(b, name)
		for _, rows := range []int64{1, 8} {
			in := rowsFor(m.signature, rows, 1)
			b.Run(fmt.Sprint(name, "/", rows), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					out, err := m.Predict(b.Context(), in)
					if err != nil {
						b.Fatal(err)
					}
					out.Release()
				}
			})
		}
	}
}
