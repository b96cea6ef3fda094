package cuda

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// Profiler is what models of this backend are besides, for people who look for where time goes.
type Profiler interface {
	// Profile runs each operation by itself, so many times one after the other, on what earlier batches of
	// that many rows have left on the device, and returns what each takes, in order. What is computed is of no
	// use then: the next batch is as it has to be.
	Profile(ctx context.Context, rows, times int) ([]Part, error)
}

// Part is one operation of a model on the device.
type Part struct {
	Operation  string // such as "Gemm"
	Node       string // of the graph
	Shapes     string // of what is read, and of what is written
	By         string // the kernels, or cuBLASLt
	Took       time.Duration
	Operations float64 // multiplications and additions of products, 0 for others
	Bytes      float64 // that are read and written at least
}

// Profile implements Profiler.
func (m *model) Profile(ctx context.Context, rows, times int) (all []Part, err error) {
	err = m.alone(ctx, rows, func(l *lane, x *executable) (err error) {
		b := x.binding(l.memory.at, m.engine.tf32)
		b.place = m.engine.place(l, x)
		kept := len(l.tables[x])
		defer func() { err = errors.Join(err, m.engine.displace(l, x, kept)) }()
		for _, o := range x.program.Ops {
			p, err := m.engine.part(b, o, times)
			if err != nil {
				return fmt.Errorf("operation %s (node %q): %w", o.Name(), o.Node, err)
			}
			if p.By != "" {
				all = append(all, p)
			}
		}
		return nil
	})
	return all, err
}

// part measures one operation, in a graph of so many of it. One of no elements is by nobody.
func (e *engine) part(b binding, o *lower.Op, times int) (Part, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := Part{Operation: o.Name(), Node: o.Node, Shapes: shapesOf(o.In) + " to " + shapesOf(o.Out), Operations: operations(o), Bytes: crossing(o)}
	once, err := e.steps(b, &lower.Program{Ops: []*lower.Op{o}})
	if err != nil || len(once) == 0 {
		return p, err
	}
	var names []string
	var all []step
	for _, s := range once {
		if s.product != nil {
			names = append(names, "cuBLASLt")
		} else {
			names = append(names, s.kernel.Name)
		}
	}
	for range times {
		all = append(all, once...)
	}
	g, err := e.capture(all)
	if err != nil {
		return p, err
	}
	run := func() error { return e.context.Launch(g, e.streams.compute) }
	err = run() // the first one may have to make room, or to compile
	if err == nil {
		p.Took, err = e.timed(run)
	}
	p.By, p.Took = strings.Join(names, ", "), p.Took/time.Duration(times)
	return p, errors.Join(err, e.context.DestroyExec(g))
}

func shapesOf(all []lower.Tensor) string {
	var texts []string
	for _, t := range all {
		if t.Given() {
			texts = append(texts, strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Shape), "[]"), " ", "×"))
		}
	}
	const most = 5 // of the operands of a lookup, which are all alike
	if len(texts) > most {
		texts = append(texts[:most-1], fmt.Sprintf("and %d more", len(texts)-most+1))
	}
	return strings.Join(texts, ", ")
}

// operations counts what products multiply and add.
func operations(o *lower.Op) float64 {
	if len(o.In) < 2 || len(o.In[0].Shape) != 4 {
		return 0
	}
	out, a, b := float64(o.Out[0].Elements()), o.In[0].Shape, o.In[1]
	switch k := o.Kind.(type) {
	case lower.Gemm, lower.GemmInteger:
		return 2 * out * float64(a[3])
	case lower.Conv:
		if k.Depthwise {
			return 2 * out * float64(k.Window.Size[0]*k.Window.Size[1])
		}
		return 2 * out * float64(b.Elements()/o.Out[0].Shape[3])
	case lower.Attention:
		return 4 * out * float64(b.Shape[2])
	}
	return 0
}

// crossing counts the bytes of operands and results; of tables those that are read.
func crossing(o *lower.Op) float64 {
	n := 0.0
	for i, t := range o.In {
		_, gather := o.Kind.(lower.Gather)
		_, lookup := o.Kind.(lower.Lookup)
		if t.Given() && !(gather && i == 0) && !(lookup && i%2 == 0) {
			n += float64(t.Elements()) * float64(t.Type.Size())
		}
		if gather && i == 0 {
			n += float64(o.Out[0].Elements()) * float64(t.Type.Size())
		}
		if lookup && i%2 == 0 {
			n += float64(o.In[i+1].Elements()*t.Shape[1]) * float64(t.Type.Size())
		}
	}
	for _, t := range o.Out {
		n += float64(t.Elements()) * float64(t.Type.Size())
	}
	return n
}
