package plugins

import (
	"fmt"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/proto"
)

// The two directions of every type stand side by side here and nowhere else. To and from are
// meant as seen from Go: toX makes the message, fromX reads it. What is read has the form of
// its type but is not checked any further.

func toInfo(i backends.Info) *proto.InfoReply {
	return &proto.InfoReply{Name: i.Name, Version: i.Version, Device: i.Device, Concurrency: int64(i.Concurrency)}
}

func fromInfo(m *proto.InfoReply) backends.Info {
	return backends.Info{
		Name: m.GetName(), Version: m.GetVersion(), Device: m.GetDevice(), Concurrency: int(m.GetConcurrency()),
	}
}

func toDevice(d backends.Device) *proto.Device {
	m := &proto.Device{
		Id: d.ID, Number: int64(d.Number), Name: d.Name, Driver: d.Driver, Held: d.Held, Shared: d.Shared, Taken: d.Taken, Read: int64(d.Read), Figures: map[string]float64{},
	}
	for kind, value := range d.Figures {
		m.Figures[string(kind)] = value
	}
	return m
}

func fromDevice(m *proto.Device) backends.Device {
	d := backends.Device{
		ID: m.GetId(), Number: int(m.GetNumber()), Name: m.GetName(), Driver: m.GetDriver(), Held: m.GetHeld(), Shared: m.GetShared(), Taken: m.GetTaken(), Read: time.Duration(m.GetRead()),
		Figures: map[backends.Figure]float64{},
	}
	for kind, value := range m.GetFigures() {
		d.Figures[backends.Figure(kind)] = value
	}
	return d
}

func toSpec(s backends.Spec) *proto.LoadRequest {
	return &proto.LoadRequest{
		Model: s.Model, Version: s.Version, Dir: s.Dir, Options: s.Options, MaxRows: int64(s.MaxRows),
	}
}

func fromSpec(m *proto.LoadRequest) backends.Spec {
	return backends.Spec{
		Model: m.GetModel(), Version: m.GetVersion(), Dir: m.GetDir(), Options: m.GetOptions(), MaxRows: int(m.GetMaxRows()),
	}
}

func toSignature(s backends.Signature) *proto.Signature {
	return &proto.Signature{
		Platform: s.Platform,
		Inputs:   each(s.Inputs, toTensorSpec),
		Outputs:  each(s.Outputs, toTensorSpec),
		Batched:  s.Batched, Precision: s.Precision,
	}
}

func fromSignature(m *proto.Signature) (backends.Signature, error) {
	inputs, err := tryEach(m.GetInputs(), fromTensorSpec)
	if err != nil {
		return backends.Signature{}, fmt.Errorf("inputs: %w", err)
	}
	outputs, err := tryEach(m.GetOutputs(), fromTensorSpec)
	if err != nil {
		return backends.Signature{}, fmt.Errorf("outputs: %w", err)
	}
	return backends.Signature{
		Platform: m.GetPlatform(), Inputs: inputs, Outputs: outputs, Batched: m.GetBatched(), Precision: m.GetPrecision(),
	}, nil
}

func toTensorSpec(s backends.TensorSpec) *proto.TensorSpec {
	return &proto.TensorSpec{
		Name: s.Name, Datatype: s.Datatype.String(), Shape: s.Shape, Optional: s.Optional, Labels: s.Labels,
	}
}

func fromTensorSpec(m *proto.TensorSpec) (backends.TensorSpec, error) {
	d, err := backends.ParseDatatype(m.GetDatatype())
	return backends.TensorSpec{
		Name: m.GetName(), Datatype: d, Shape: m.GetShape(), Optional: m.GetOptional(), Labels: m.GetLabels(),
	}, err
}

// toBatch and fromBatch leave out NoCache and Trace, which concern stages in the host only.
func toBatch(handle uint64, b backends.Batch) *proto.PredictRequest {
	return &proto.PredictRequest{
		Handle:     handle,
		Tensors:    each(b.Tensors, toTensor),
		Outputs:    b.Outputs,
		Parameters: each(b.Parameters, toParameter),
	}
}

func fromBatch(m *proto.PredictRequest) (backends.Batch, error) {
	tensors, err := tryEach(m.GetTensors(), fromTensor)
	return backends.Batch{
		Tensors: tensors, Outputs: m.GetOutputs(), Parameters: each(m.GetParameters(), fromParameter),
	}, err
}

func toAnswer(b backends.Batch) *proto.PredictReply {
	return &proto.PredictReply{Tensors: each(b.Tensors, toTensor)}
}

func fromAnswer(m *proto.PredictReply) (backends.Batch, error) {
	tensors, err := tryEach(m.GetTensors(), fromTensor)
	return backends.Batch{Tensors: tensors}, err
}

func toTensor(t backends.Tensor) *proto.Tensor {
	return &proto.Tensor{Name: t.Name, Datatype: t.Datatype.String(), Shape: t.Shape, Data: t.Data}
}

func fromTensor(m *proto.Tensor) (backends.Tensor, error) {
	d, err := backends.ParseDatatype(m.GetDatatype())
	return backends.Tensor{Name: m.GetName(), Datatype: d, Shape: m.GetShape(), Data: m.GetData()}, err
}

func toParameter(p backends.Parameter) *proto.Parameter {
	return &proto.Parameter{Name: p.Name, Value: p.Value}
}

func fromParameter(m *proto.Parameter) backends.Parameter {
	return backends.Parameter{Name: m.GetName(), Value: m.GetValue()}
}

func each[A, B any](all []A, convert func(A) B) []B {
	if all == nil {
		return nil
	}
	converted := make([]B, len(all))
	for i := range all {
		converted[i] = convert(all[i])
	}
	return converted
}

func tryEach[A, B any](all []A, convert func(A) (B, error)) ([]B, error) {
	if all == nil {
		return nil, nil
	}
	converted := make([]B, len(all))
	for i := range all {
		var err error
		if converted[i], err = convert(all[i]); err != nil {
			return nil, err
		}
	}
	return converted, nil
}
