package main

import "fmt"

// embeddings write how rows of a table are looked up. A table holds float32 or, in those functions
// with Half in their names, bfloat16, whose rows are filled up to whole vectors of AVX2. While a row
// is read those that come later are asked for: where they lie nobody else can foresee.
func embeddings(f *file) {
	f.maskTable("embeddingMask")
	table{vector{f, avx2}, "", 4}.askRows()
	table{vector{f, avx2}, "Half", 2}.askRows()
	for _, i := range []isa{avx2, avx512} {
		vector{f, i}.locate("locate64", "*int64")
		vector{f, i}.locate("locate32", "*int32")
		for _, t := range []table{{vector{f, i}, "", 4}, {vector{f, i}, "Half", 2}} {
			t.takeRows()
			t.sumRows()
		}
	}
}

// locate writes where rows start, as many at a time as there are words in a register.
func (v vector) locate(name, index string) {
	v.function(name+v.isa.name, `sets offsets to index*stride, where a negative index counts from the end. It stops at the last of whole
// vectors and before one that has an index outside of rows, and returns how many it has set. There are
// less than 2^32 rows, and the stride is less.`, "offsets *int", "index "+index, "n int", "rows int", "stride int", "ret int")
	v.op("MOVQ", "offsets+0(FP)", "DI")
	v.op("MOVQ", "index+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.op("VPBROADCASTQ", "rows+24(FP)", v.r(4))
	v.op("VPBROADCASTQ", "stride+32(FP)", v.r(5))
	v.zeroReg(v.r(6))
	loop, done := v.label("loop"), v.label("located")
	words := v.isa.width / 2
	v.place(loop)
	v.op("SUBQ", words, "CX")
	v.op("JLT", done)
	if index == "*int32" {
		v.op("VPMOVSXDQ", "(SI)", v.r(0))
	} else {
		v.op("VMOVUPS", "(SI)", v.r(0))
	}
	if v.isa == avx512 {
		v.op("VPSRAQ", 63, v.r(0), v.r(1))
		v.op("VPANDQ", v.r(4), v.r(1), v.r(1))
		v.op("VPADDQ", v.r(1), v.r(0), v.r(0))
		v.op("VPCMPUQ", atLeast, v.r(4), v.r(0), "K1")
		v.op("KMOVW", "K1", "AX")
		v.op("TESTL", "AX", "AX")
	} else {
		v.op("VPCMPGTQ", v.r(0), v.r(6), v.r(1))
		v.op("VPAND", v.r(4), v.r(1), v.r(1))
		v.op("VPADDQ", v.r(1), v.r(0), v.r(0))
		v.op("VPCMPGTQ", v.r(0), v.r(4), v.r(1))
		v.op("VPCMPGTQ", v.r(0), v.r(6), v.r(2))
		v.op("VPANDN", v.r(1), v.r(2), v.r(1)) // below rows and not negative
		v.op("VMOVMSKPD", v.r(1), "AX")
		v.op("CMPL", "AX", 15)
	}
	v.op("JNE", done)
	v.op("VPMULUDQ", v.r(5), v.r(0), v.r(0))
	v.op("VMOVUPS", v.r(0), "(DI)")
	v.op("ADDQ", 8*words, "DI")
	v.op("ADDQ", map[string]int{"*int64": 8, "*int32": 4}[index]*words, "SI")
	v.op("JMP", loop)
	v.place(done)
	v.op("SUBQ", "offsets+0(FP)", "DI")
	v.op("SHRQ", 3, "DI")
	v.op("MOVQ", "DI", "ret+40(FP)")
	v.ret()
}

// atLeast is true where the first number is not less than the second.
const atLeast = 5

// table writes code for a table whose elements take so many bytes.
type table struct {
	vector
	name string
	size int
}

// row is the operand of the row that starts so many elements after a pointer.
func (t table) row(base, offset string) string {
	return fmt.Sprintf("(%s)(%s*%d)", base, offset, t.size)
}

// bytes returns what a vector takes in the table.
func (t table) bytes() int { return t.isa.width * t.size }

// widen sets a register to a vector of bfloat16.
func (t table) widen(from, reg string, masked bool) {
	if masked && t.isa == avx512 {
		t.op("VPMOVZXWD.Z", from, "K1", reg)
	} else {
		t.op("VPMOVZXWD", from, reg)
	}
	t.op("VPSLLD", 16, reg, reg)
}

// askRows asks for rows. It takes no vectors.
func (t table) askRows() {
	t.function("ask"+t.name+"Rows", "asks for n rows of cols values at the offsets in table.",
		"table *byte", "offsets *int", "n int", "cols int")
	t.op("MOVQ", "table+0(FP)", "DX")
	t.op("MOVQ", "offsets+8(FP)", "R8")
	t.op("MOVQ", "n+16(FP)", "R9")
	t.op("MOVQ", "cols+24(FP)", "R10")
	t.op("LEAQ", fmt.Sprintf("-1(R10*%d)", t.size), "R15") // the last byte of a row
	row, next, done := t.label("row"), t.label("line"), t.label("asked")
	t.place(row)
	t.op("DECQ", "R9")
	t.op("JLT", done)
	t.op("MOVQ", "(R8)", "BX")
	t.op("LEAQ", t.row("DX", "BX"), "BX")
	t.op("LEAQ", "(BX)(R15*1)", "CX")
	t.op("PREFETCHT0", "(CX)")
	t.op("ADDQ", 8, "R8")
	t.place(next)
	t.op("PREFETCHT0", "(BX)")
	t.op("ADDQ", line, "BX")
	t.op("CMPQ", "BX", "CX")
	t.op("JLS", next)
	t.op("JMP", row)
	t.place(done)
	t.op("RET")
}

// takeRows copies rows as they are, so that what they hold need not be numbers.
func (t table) takeRows() {
	t.function("take"+t.name+"Rows"+t.isa.name, "sets dst to cols values of each of n rows, at the offsets in table, and asks for those ahead bytes later in offsets.",
		"dst *float32", "table *byte", "offsets *int", "n int", "cols int", "dstRow int", "ahead int")
	t.op("MOVQ", "dst+0(FP)", "R12")
	t.op("MOVQ", "table+8(FP)", "DX")
	t.op("MOVQ", "offsets+16(FP)", "R8")
	t.op("MOVQ", "n+24(FP)", "R9")
	t.op("MOVQ", "cols+32(FP)", "R10")
	t.op("MOVQ", "dstRow+40(FP)", "R11")
	t.op("MOVQ", "ahead+48(FP)", "R13")
	t.op("LEAQ", fmt.Sprintf("-1(R10*%d)", t.size), "R15") // the last byte of a row
	row, done := t.label("row"), t.label("taken")
	t.op("TESTQ", "R9", "R9")
	t.op("JLE", done)
	t.place(row)
	t.op("MOVQ", "(R8)(R13*1)", "BX")
	t.op("LEAQ", t.row("DX", "BX"), "BX")
	t.op("PREFETCHT0", "(BX)(R15*1)")
	t.op("MOVQ", "(R8)", "SI")
	t.op("LEAQ", t.row("DX", "SI"), "SI")
	t.op("MOVQ", "R12", "DI")
	t.op("MOVQ", "R10", "CX")
	t.loop("embeddingMask", func(l lanes) {
		t.op("PREFETCHT0", "(BX)")
		if t.size == 2 {
			t.widen("(SI)", t.r(0), l.masked)
		} else {
			l.load("SI", t.r(0))
		}
		l.store(t.r(0), "DI")
		l.advance("DI")
		t.op("ADDQ", t.bytes(), "SI")
		t.op("ADDQ", t.bytes(), "BX")
	})
	t.op("ADDQ", "R11", "R12")
	t.op("ADDQ", 8, "R8")
	t.op("DECQ", "R9")
	t.op("JNZ", row)
	t.place(done)
	t.ret()
}

// mostSums is how many vectors of a row are summed together.
const mostSums = 8

// Registers of sumRows: the sums, then these.
const (
	widened = 8
	weight  = 14
)

// sumRows adds up the rows of each bag. SI is the table, R8 walks over the offsets, R9 is where those
// of the bag end, R10 walks over the ends, R12 counts bags, DX walks over the weights, DI over dst.
func (t table) sumRows() {
	t.function("sum"+t.name+"Rows"+t.isa.name, "sets each row of dst to the sum of a bag.", "b *bagSum")
	t.op("MOVQ", "b+0(FP)", "R11")
	for _, field := range []struct{ name, reg string }{
		{"offsets", "R8"}, {"ends", "R10"}, {"ends+8", "R12"}, {"weights", "DX"}, {"dst", "DI"}, {"cols", "CX"}, {"ahead", "R13"},
	} {
		t.op("MOVQ", at("bagSum_"+field.name, "R11"), field.reg)
	}
	from := "values"
	if t.size == 2 {
		from = "halves"
	}
	t.op("MOVQ", at("bagSum_"+from, "R11"), "SI")
	t.op("LEAQ", fmt.Sprintf("-1(CX*%d)", t.size), "R15") // the last byte of a row
	t.op("LEAQ", at(t.isa.width-1, "CX"), "BX")
	t.op("SHRQ", map[int]int{8: 3, 16: 4}[t.isa.width], "BX") // vectors of a row
	t.op("DECQ", "CX")
	t.op("ANDQ", t.isa.width-1, "CX")
	t.op("INCQ", "CX") // values in the last one
	t.tailMask("embeddingMask")
	t.op("MOVQ", at("bagSum_carry", "R11"), "CX")
	done := t.label("summed")
	var starts [mostSums + 1]string
	for vectors := mostSums; vectors >= 1; vectors-- {
		starts[vectors] = t.label("bags")
		t.op("CMPQ", "BX", vectors)
		t.op("JEQ", starts[vectors])
	}
	t.op("JMP", done)
	for vectors := 1; vectors <= mostSums; vectors++ {
		t.place(starts[vectors])
		t.bags(vectors)
		t.op("JMP", done)
	}
	t.place(done)
	t.ret()
}

// bags writes the loop over bags for rows of so many vectors.
func (t table) bags(vectors int) {
	bag, fresh, weighted, store := t.label("bag"), t.label("fresh"), t.label("weighted"), t.label("store")
	t.place(bag)
	t.op("MOVQ", "(R10)", "AX")
	t.op("ADDQ", 8, "R10")
	t.op("MOVQ", at("bagSum_offsets", "R11"), "R9")
	t.op("LEAQ", "(R9)(AX*8)", "R9")
	for i := range vectors {
		t.zeroReg(t.r(i))
	}
	t.op("TESTQ", "CX", "CX")
	t.op("JZ", fresh)
	t.op("XORL", "CX", "CX")
	for i := range vectors {
		t.lanes(i, vectors).loadAt(4*i*t.isa.width, "DI", t.r(i))
	}
	t.place(fresh)
	t.op("CMPQ", "R8", "R9")
	t.op("JAE", store)
	t.op("TESTQ", "DX", "DX")
	t.op("JNZ", weighted)
	t.eachRow(vectors, func() {}, func(l lanes, from any, i int) { l.sum("VADDPS", from, l.r(i), l.r(i)) })
	t.op("JMP", store)
	t.place(weighted)
	t.eachRow(vectors, func() {
		t.op("VBROADCASTSS", "(DX)", t.r(weight))
		t.op("ADDQ", 4, "DX")
	}, func(l lanes, from any, i int) { l.sum("VFMADD231PS", from, l.r(weight), l.r(i)) })
	t.place(store)
	for i := range vectors {
		t.lanes(i, vectors).storeAt(t.r(i), 4*i*t.isa.width, "DI")
	}
	t.op("ADDQ", at("bagSum_dstRow", "R11"), "DI")
	t.op("DECQ", "R12")
	t.op("JNZ", bag)
}

// lanes returns those that count in vector i of a row.
func (t table) lanes(i, vectors int) lanes { return lanes{t.vector, i == vectors-1} }

// eachRow writes the loop over the rows of a bag, of which there is one at least: first, then each for
// every vector, in a register or where it can be read from memory.
func (t table) eachRow(vectors int, first func(), each func(l lanes, from any, i int)) {
	row := t.label("row")
	t.place(row)
	t.op("MOVQ", "(R8)(R13*1)", "BX")
	t.op("LEAQ", t.row("SI", "BX"), "BX")
	t.op("MOVQ", "(R8)", "AX")
	t.op("LEAQ", t.row("SI", "AX"), "AX")
	for i := range vectors {
		if i*t.bytes()%line == 0 {
			t.op("PREFETCHT0", at(i*t.bytes(), "BX"))
		}
	}
	t.op("PREFETCHT0", "(BX)(R15*1)")
	first()
	for i := range vectors {
		l, from := t.lanes(i, vectors), at(i*t.bytes(), "AX")
		switch {
		case t.size == 2:
			t.widen(from, t.r(widened), l.masked)
			each(lanes{t.vector, false}, t.r(widened), i)
		case l.masked && t.isa == avx2:
			t.op("VMASKMOVPS", from, t.r(15), t.r(widened))
			each(lanes{t.vector, false}, t.r(widened), i)
		default:
			each(l, from, i)
		}
	}
	t.op("ADDQ", 8, "R8")
	t.op("CMPQ", "R8", "R9")
	t.op("JB", row)
}

// line is a cache line.
const line = 64

// sum writes an addition of those lanes that count.
func (l lanes) sum(name string, from any, with, sum string) {
	if l.masked {
		l.op(name, from, with, "K1", sum)
		return
	}
	l.op(name, from, with, sum)
}
