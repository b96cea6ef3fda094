package plugins

import (
	"fmt"
	"os"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/thrumserve/thrum/backends"
	wire "github.com/thrumserve/thrum/plugins/proto"
)

// fill sets every field, however deep, to a value that occurs nowhere else.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case backends.Datatype:
		v.Set(reflect.ValueOf(backends.Bool + backends.Datatype(*n%int(backends.Bytes))))
		return
	case *backends.Lease, *os.File: // of this process
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, n)
		fill(t, value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	default:
		t.Fatalf("no value for a %v: teach fill about it", v.Type())
	}
}

func filled[T any](t *testing.T) T {
	t.Helper()
	var v T
	n := 0
	fill(t, reflect.ValueOf(&v).Elem(), &n)
	return v
}

// cross sends m over the wire.
func cross[M proto.Message](t *testing.T, m M) M {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	arrived := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(data, arrived); err != nil {
		t.Fatal(err)
	}
	return arrived.(M)
}

func same[T any](t *testing.T, have, want T, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(have, want) {
		t.Errorf("came back as\n%+v, %v, was\n%+v", have, err, want)
	}
}

func TestEveryFieldCrosses(t *testing.T) {
	info := filled[backends.Info](t)
	same(t, fromInfo(cross(t, toInfo(info))), info, nil)

	spec := filled[backends.Spec](t)
	same(t, fromSpec(cross(t, toSpec(spec))), spec, nil)

	signature := filled[backends.Signature](t)
	backSignature, err := fromSignature(cross(t, toSignature(signature)))
	same(t, backSignature, signature, err)

	batch := filled[backends.Batch](t)
	batch.NoCache, batch.Trace = false, backends.Trace{} // of the stages in the host
	backBatch, err := fromBatch(cross(t, toBatch(1, batch)))
	same(t, backBatch, batch, err)

	answer := backends.Batch{Tensors: batch.Tensors} // an answer has nothing else
	backAnswer, err := fromAnswer(cross(t, toAnswer(answer)))
	same(t, backAnswer, answer, err)
}

func TestAbsentStaysAbsent(t *testing.T) {
	batch, err := fromBatch(cross(t, toBatch(1, backends.Batch{Tensors: []backends.Tensor{{Name: "scalar", Datatype: backends.FP32}}})))
	if err != nil || batch.Outputs != nil || batch.Parameters != nil || batch.Tensors[0].Shape != nil {
		t.Errorf("came back as %+v, %v", batch, err)
	}
	signature, err := fromSignature(nil)
	same(t, signature, backends.Signature{}, err)
}

func TestUnknownDatatypeIsRefused(t *testing.T) {
	for _, name := range []string{"", "INVALID", "fp32", "FP128"} {
		if _, err := fromTensor(&wire.Tensor{Name: "x", Datatype: name}); err == nil {
			t.Errorf("fromTensor with datatype %q = nil, want an error", name)
		}
		if _, err := fromSignature(&wire.Signature{Outputs: []*wire.TensorSpec{{Name: "x", Datatype: name}}}); err == nil {
			t.Errorf("fromSignature with datatype %q = nil, want an error", name)
		}
	}
}
