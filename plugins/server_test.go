package plugins

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/proto"
)

// stub is a backend with one model of any signature that takes anything.
type stub struct {
	backends.Backend
	signature backends.Signature
	onLoad    func()
	closed    int
}

func (s *stub) Load(context.Context, backends.Spec) (backends.Model, error) {
	if s.onLoad != nil {
		s.onLoad()
	}
	return s, nil
}
func (s *stub) Signature() backends.Signature { return s.signature }
func (s *stub) Close() error                  { s.closed++; return nil }
func (s *stub) Predict(context.Context, backends.Batch) (backends.Batch, error) {
	return backends.Batch{}, nil
}

func TestServerTrustsNoHost(t *testing.T) {
	s := newServer(&stub{signature: backends.Signature{
		Inputs: []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 1}}},
	}})
	loaded, err := s.Load(t.Context(), &proto.LoadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	good := func() *proto.PredictRequest { return toBatch(loaded.Handle, rows(2)) }
	for name, test := range map[string]struct {
		spoil func(*proto.PredictRequest)
		want  codes.Code
	}{
		"a good one":        {func(*proto.PredictRequest) {}, codes.OK},
		"no such model":     {func(r *proto.PredictRequest) { r.Handle++ }, codes.FailedPrecondition},
		"no tensors":        {func(r *proto.PredictRequest) { r.Tensors = nil }, codes.InvalidArgument},
		"an empty tensor":   {func(r *proto.PredictRequest) { r.Tensors[0] = &proto.Tensor{} }, codes.InvalidArgument},
		"another datatype":  {func(r *proto.PredictRequest) { r.Tensors[0].Datatype = "INT8" }, codes.InvalidArgument},
		"a negative shape":  {func(r *proto.PredictRequest) { r.Tensors[0].Shape[0] = -2 }, codes.InvalidArgument},
		"an enormous shape": {func(r *proto.PredictRequest) { r.Tensors[0].Shape[0] = 1 << 62 }, codes.InvalidArgument},
		"too little data":   {func(r *proto.PredictRequest) { r.Tensors[0].Data = nil }, codes.InvalidArgument},
		"an unknown output": {func(r *proto.PredictRequest) { r.Outputs = []string{"z"} }, codes.InvalidArgument},
	} {
		req := good()
		test.spoil(req)
		if _, err := s.Predict(t.Context(), req); status.Code(err) != test.want {
			t.Errorf("%s: Predict = %v, want code %v", name, err, test.want)
		}
	}
}

func TestServerRefusesAnImpossibleSignature(t *testing.T) {
	b := &stub{signature: backends.Signature{Inputs: []backends.TensorSpec{{Name: "\xff", Datatype: backends.FP32}}}}
	if _, err := newServer(b).Load(t.Context(), &proto.LoadRequest{}); status.Code(err) != codes.InvalidArgument || b.closed != 1 {
		t.Errorf("Load = %v, model closed %d times, want InvalidArgument and 1", err, b.closed)
	}
}

func TestServerClosesWhatNobodyWaitsFor(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := &stub{onLoad: cancel}
	if _, err := newServer(b).Load(ctx, &proto.LoadRequest{}); status.Code(err) != codes.Canceled || b.closed != 1 {
		t.Errorf("Load = %v, model closed %d times, want Canceled and 1", err, b.closed)
	}
}

func TestUnloadTwice(t *testing.T) {
	b := &stub{}
	s := newServer(b)
	loaded, err := s.Load(t.Context(), &proto.LoadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Unload(t.Context(), &proto.UnloadRequest{Handle: loaded.Handle}); err != nil {
			t.Errorf("Unload = %v", err)
		}
	}
	if b.closed != 1 || len(s.loaded) != 0 {
		t.Errorf("model closed %d times, %d still loaded, want 1 and 0", b.closed, len(s.loaded))
	}
}

func TestLentAnswersAreGivenBack(t *testing.T) {
	y := backends.Tensor{Name: "y", Datatype: backends.Uint8, Shape: []int64{3}, Data: []byte{1, 2, 3}}
	m := reply(backends.Batch{
		Tensors: []backends.Tensor{y},
		Lease:   backends.NewLease(func() { clear(y.Data); clear(y.Shape) }),
	})
	if y.Data[0] != 0 || !slices.Equal(m.Tensors[0].Data, []byte{1, 2, 3}) {
		t.Errorf("reply = %v, of %v, want a copy of what has been given back", m.Tensors[0].Data, y.Data)
	}
	if !slices.Equal(m.Tensors[0].Shape, []int64{3}) {
		t.Errorf("reply of shape %v, want a copy of what has been given back", m.Tensors[0].Shape)
	}
}
