package onnx

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// decoder decodes the messages and counts what it makes.
type decoder struct {
	nodes, links int
	depth        int
}

func (d *decoder) count(n *int, limit int, what string) error {
	if *n++; *n > limit {
		return damaged("more than %d %s", limit, what)
	}
	return nil
}

func (d *decoder) model(msg []byte) (*modelProto, error) {
	m := &modelProto{opsets: map[string]int64{}}
	err := eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return f.int(&m.irVersion)
		case 2:
			return f.text(&m.producer)
		case 3:
			return f.text(&m.version)
		case 7:
			if m.graph != nil {
				return damaged("it holds two graphs")
			}
			m.graph = &graphProto{}
			return f.message(func(b []byte) error { return d.graph(b, m.graph) })
		case 8:
			return f.message(func(b []byte) error { return opset(b, m.opsets) })
		case 25:
			if err := d.count(&d.nodes, maxNodes, "nodes and functions"); err != nil {
				return err
			}
			fn := &functionProto{opsets: map[string]int64{}}
			m.functions = append(m.functions, fn)
			return f.message(func(b []byte) error { return d.function(b, fn) })
		}
		return nil
	})
	return m, err
}

func opset(msg []byte, into map[string]int64) error {
	var domain string
	var version int64
	err := eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return f.text(&domain)
		case 2:
			return f.int(&version)
		}
		return nil
	})
	if err != nil {
		return err
	}
	domain = canonicalDomain(domain)
	if have, ok := into[domain]; ok && have != version {
		return damaged("it imports %s at opset %d and at opset %d", domainName(domain), have, version)
	}
	into[domain] = version
	return nil
}

// canonicalDomain returns "" for both of the standard domain's names.
func canonicalDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

func (d *decoder) graph(msg []byte, g *graphProto) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return d.appendNode(f, &g.nodes)
		case 2:
			return f.text(&g.name)
		case 5:
			return d.appendTensor(f, &g.initializers)
		case 11:
			return d.appendValue(f, &g.inputs)
		case 12:
			return d.appendValue(f, &g.outputs)
		case 13:
			return d.appendValue(f, &g.values)
		case 15:
			g.sparse++
		}
		return nil
	})
}

func (d *decoder) appendNode(f field, to *[]*nodeProto) error {
	if err := d.count(&d.nodes, maxNodes, "nodes"); err != nil {
		return err
	}
	n := &nodeProto{}
	*to = append(*to, n)
	return f.message(func(b []byte) error { return d.node(b, n) })
}

func (d *decoder) node(msg []byte, n *nodeProto) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return d.appendLink(f, &n.inputs)
		case 2:
			return d.appendLink(f, &n.outputs)
		case 3:
			return f.text(&n.name)
		case 4:
			return f.text(&n.op)
		case 5:
			return d.appendAttr(f, &n.attrs)
		case 7:
			err := f.text(&n.domain)
			n.domain = canonicalDomain(n.domain)
			return err
		case 8:
			return f.text(&n.overload)
		}
		return nil
	})
}

func (d *decoder) appendLink(f field, to *[]string) error {
	if err := d.count(&d.links, maxLinks, "inputs and outputs"); err != nil {
		return err
	}
	return f.texts(to)
}

func (d *decoder) appendAttr(f field, to *[]*attrProto) error {
	if err := d.count(&d.links, maxLinks, "attributes"); err != nil {
		return err
	}
	a := &attrProto{}
	*to = append(*to, a)
	return f.message(func(b []byte) error { return d.attr(b, a) })
}

func (d *decoder) attr(msg []byte, a *attrProto) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return f.text(&a.name)
		case 2:
			return f.float(&a.f)
		case 3:
			return f.int(&a.i)
		case 4:
			a.s = f.bytes
			return f.want(protowire.BytesType)
		case 5:
			a.t = &tensorProto{}
			return f.message(func(b []byte) error { return d.tensor(b, a.t) })
		case 6:
			return d.subgraph(f, a)
		case 7:
			return f.fixed(&a.floats, 4)
		case 8:
			return f.varints(&a.ints, math.MaxInt)
		case 9:
			a.strings = append(a.strings, f.bytes)
			return f.want(protowire.BytesType)
		case 10:
			return d.appendTensor(f, &a.tensors)
		case 20:
			return f.int(&a.kind)
		case 21:
			return f.text(&a.ref)
		}
		return nil
	})
}

func (d *decoder) subgraph(f field, a *attrProto) error {
	if d.depth++; d.depth > maxDepth {
		return damaged("subgraphs are nested more than %d deep", maxDepth)
	}
	defer func() { d.depth-- }()
	a.g = &graphProto{}
	return f.message(func(b []byte) error { return d.graph(b, a.g) })
}

func (d *decoder) appendTensor(f field, to *[]*tensorProto) error {
	if err := d.count(&d.links, maxLinks, "tensors"); err != nil {
		return err
	}
	t := &tensorProto{}
	*to = append(*to, t)
	return f.message(func(b []byte) error { return d.tensor(b, t) })
}

func (d *decoder) tensor(msg []byte, t *tensorProto) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return f.varints(&t.dims, maxRank)
		case 2:
			return f.int(&t.kind)
		case 3:
			t.segmented = true
		case 4:
			return f.fixed(&t.floats, 4)
		case 5, 7, 11:
			return f.varints(&t.ints, math.MaxInt)
		case 6:
			t.strings = append(t.strings, f.bytes)
			return f.want(protowire.BytesType)
		case 8:
			return f.text(&t.name)
		case 9:
			t.raw, t.hasRaw = f.bytes[:len(f.bytes):len(f.bytes)], true
			return f.want(protowire.BytesType)
		case 10:
			return f.fixed(&t.doubles, 8)
		case 13:
			return f.message(func(b []byte) error { return d.entry(b, t) })
		case 14:
			t.isOutside = f.n == 1
			return f.want(protowire.VarintType)
		}
		return nil
	})
}

func (d *decoder) entry(msg []byte, t *tensorProto) error {
	if err := d.count(&d.links, maxLinks, "external data entries"); err != nil {
		return err
	}
	var e entryProto
	err := eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return f.text(&e.key)
		case 2:
			return f.text(&e.value)
		}
		return nil
	})
	t.external = append(t.external, e)
	return err
}

func (d *decoder) appendValue(f field, to *[]*valueProto) error {
	if err := d.count(&d.links, maxLinks, "values"); err != nil {
		return err
	}
	v := &valueProto{}
	*to = append(*to, v)
	return f.message(func(b []byte) error { return d.value(b, v) })
}

func (d *decoder) value(msg []byte, v *valueProto) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return f.text(&v.name)
		case 2:
			return f.message(func(b []byte) error { return d.valueType(b, v) })
		}
		return nil
	})
}

func (d *decoder) valueType(msg []byte, v *valueProto) error {
	forms := map[protowire.Number]string{4: "sequence", 5: "map", 7: "opaque", 8: "sparse tensor", 9: "optional"}
	return eachField(msg, func(f field) error {
		if f.num == 1 {
			v.isTensor = true
			return f.message(func(b []byte) error { return d.tensorType(b, v) })
		}
		if form, ok := forms[f.num]; ok {
			v.form = form
		}
		return nil
	})
}

func (d *decoder) tensorType(msg []byte, v *valueProto) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return f.int(&v.elem)
		case 2:
			v.hasShape = true
			return f.message(func(b []byte) error { return d.shape(b, v) })
		}
		return nil
	})
}

func (d *decoder) shape(msg []byte, v *valueProto) error {
	return eachField(msg, func(f field) error {
		if f.num != 1 {
			return nil
		}
		if len(v.dims) == maxRank {
			return damaged("value %q has more than %d dimensions", v.name, maxRank)
		}
		var dim dimProto
		err := f.message(func(b []byte) error { return d.dim(b, &dim) })
		v.dims = append(v.dims, dim)
		return err
	})
}

func (d *decoder) dim(msg []byte, dim *dimProto) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			dim.sized = true
			return f.int(&dim.size)
		case 2:
			return f.text(&dim.symbol)
		}
		return nil
	})
}

func (d *decoder) function(msg []byte, fn *functionProto) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case 1:
			return f.text(&fn.name)
		case 4:
			return d.appendLink(f, &fn.inputs)
		case 5:
			return d.appendLink(f, &fn.outputs)
		case 6:
			return d.appendLink(f, &fn.attrs)
		case 7:
			return d.appendNode(f, &fn.nodes)
		case 9:
			return f.message(func(b []byte) error { return opset(b, fn.opsets) })
		case 10:
			err := f.text(&fn.domain)
			fn.domain = canonicalDomain(fn.domain)
			return err
		case 11:
			return d.appendAttr(f, &fn.defaults)
		case 13:
			return f.text(&fn.overload)
		}
		return nil
	})
}
