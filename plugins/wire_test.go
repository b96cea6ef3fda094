package plugins

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	wire "github.com/thrumserve/thrum/plugins/proto"
)

// FuzzRequest plays a hostile host: whatever arrives, a model sees only what fits it.
func FuzzRequest(f *testing.F) {
	for _, b := range []backends.Batch{rows(2), doing("log"), {}} {
		data, err := proto.Marshal(toBatch(1, b))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	dir := f.TempDir()
	if err := backendtest.WriteFake(dir, 1, 2, 1); err != nil {
		f.Fatal(err)
	}
	s := newServer(&backendtest.Fake{})
	if _, err := s.Load(f.Context(), toSpec(backends.Spec{Dir: dir})); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var req wire.PredictRequest
		if proto.Unmarshal(data, &req) == nil {
			_, _ = s.Predict(t.Context(), &req)
		}
	})
}

// FuzzDevices plays a hostile plugin: what it says of devices is of bounded size when it passes.
func FuzzDevices(f *testing.F) {
	for _, d := range []backends.Device{gpu(), lyingDevice(), {}} {
		data, err := proto.Marshal(&wire.DevicesReply{Devices: []*wire.Device{toDevice(d)}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var reply wire.DevicesReply
		if proto.Unmarshal(data, &reply) != nil {
			return
		}
		all := each(reply.GetDevices(), fromDevice)
		if checkDevices(all) != nil {
			return
		}
		for _, d := range all {
			if d.ID == "" || len(d.ID)+len(d.Name)+len(d.Driver) > 3*maxDeviceText || len(d.Figures) > maxFigures {
				t.Errorf("passed: %+v", d)
			}
		}
	})
}

// FuzzAnswer plays a hostile plugin: an answer that passes has the rows and the data that it
// claims.
func FuzzAnswer(f *testing.F) {
	for _, b := range []backends.Batch{rows(2), {Tensors: []backends.Tensor{{Name: "x", Datatype: backends.FP32, Shape: []int64{1 << 62, 4}}}}} {
		data, err := proto.Marshal(toAnswer(b))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	signature := backends.Signature{Outputs: []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, -1}}}, Batched: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		var reply wire.PredictReply
		if proto.Unmarshal(data, &reply) != nil {
			return
		}
		out, err := fromAnswer(&reply)
		if err != nil || checkAnswer(signature, nil, 2, out) != nil {
			return
		}
		if out.Rows() != 2 || int64(len(out.Tensors[0].Data)) != 4*out.Tensors[0].Elements() {
			t.Errorf("passed: %+v", out)
		}
	})
}
