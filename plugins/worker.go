package plugins

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/shm"
)

// work answers calls that come through shared memory, as many at a time as the backend wants. It
// returns when the host does what none may.
func (s *server) work(concurrency int) error {
	return s.memory.Serve(max(concurrency, 1), s.answer)
}

// answer computes one batch where it lies and writes the answer behind it.
func (s *server) answer(ctx context.Context, r shm.Request) (a shm.Answer) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("panic in the backend", "method", "Predict", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			a = refuse(r, fmt.Errorf("panic in the backend: %v", p))
		}
	}()
	m, in, err := s.request(r)
	if err != nil {
		return refuse(r, err)
	}
	out, err := m.predict(ctx, in, r.Room)
	if err != nil {
		return refuse(r, err)
	}
	defer out.Release()
	if err := checkAnswer(m.signature, in.Outputs, in.Rows(), out); err != nil {
		return refuse(r, fmt.Errorf("the backend answered wrongly: %v", err))
	}
	var tensors [usualTensors]frameTensor
	f := answerFrame(&m.signature, out, tensors[:0])
	n := f.bytes()
	if n > len(r.Room) {
		return shm.Answer{Code: codeMoreRoom, Tag: uint64(n)}
	}
	var places [usualTensors][]byte
	for i, place := range f.lay(r.Room, places[:0]) {
		if data := out.Tensors[i].Data; len(data) > 0 && &data[0] != &place[0] { // it may lie there already
			copy(place, data)
		}
	}
	return shm.Answer{Code: codeAnswer, Length: n}
}

// predict computes a batch whose answer is to lie in room.
func (m loadedModel) predict(ctx context.Context, in backends.Batch, room []byte) (backends.Batch, error) {
	if p, ok := m.Model.(Placer); ok {
		return p.PredictInto(ctx, in, placeIn(room, m.signature.Outputs))
	}
	return m.Predict(ctx, in)
}

// placeIn returns what gives tensors of an answer their data in room, where answer lays them.
func placeIn(room []byte, specs []backends.TensorSpec) func([]backends.Tensor) bool {
	return func(tensors []backends.Tensor) bool {
		f := frame{tensors: make([]frameTensor, len(tensors))}
		for i, t := range tensors {
			f.tensors[i] = frameOfTensor(specs, t)
			f.tensors[i].size = int(t.Elements()) * t.Datatype.Size()
		}
		if f.bytes() > len(room) {
			return false
		}
		for i, place := range f.lay(room, nil) {
			tensors[i].Data = place
		}
		return true
	}
}

func (s *server) request(r shm.Request) (loadedModel, backends.Batch, error) {
	m, err := s.model(r.Tag)
	if err != nil {
		return loadedModel{}, backends.Batch{}, err
	}
	in, err := decode(r.Data, m.signature.Inputs, m.signature.Outputs)
	if err == nil {
		err = m.signature.Check(in)
	}
	return m, in, err
}

func refuse(r shm.Request, err error) shm.Answer {
	return shm.Answer{Code: codeOf(err), Length: copy(r.Room, err.Error())}
}
