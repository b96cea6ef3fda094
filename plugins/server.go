package plugins

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/proto"
	"github.com/thrumserve/thrum/plugins/shm"
)

// server answers the host with a backend. It trusts the host no more than the host trusts
// it: every batch is checked against the signature before a model sees it.
type server struct {
	proto.UnimplementedControlServer
	proto.UnimplementedTensorsServer
	backend backends.Backend
	memory  *shm.Plugin // nil where tensors cross by gRPC
	weights *os.File    // what other instances share with this one; may be nil
	locker  *os.File    // the same
	working func(error) // is told why the host cannot be served any more
	once    sync.Once   // starts work

	mu     sync.Mutex // guards what follows
	last   uint64     // the newest handle
	loaded map[uint64]loadedModel
}

type loadedModel struct {
	backends.Model
	signature backends.Signature
}

func newServer(b backends.Backend) *server {
	return &server{backend: b, loaded: map[uint64]loadedModel{}}
}

func (s *server) Info(ctx context.Context, _ *proto.InfoRequest) (*proto.InfoReply, error) {
	info, err := s.backend.Info(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	reply := toInfo(info)
	_, reply.Devices = s.backend.(Meter)
	if s.memory != nil {
		reply.Transports = []string{TransportShared}
		s.once.Do(func() { go func() { s.working(s.work(info.Concurrency)) }() })
	}
	return reply, nil
}

func (s *server) Load(ctx context.Context, req *proto.LoadRequest) (*proto.LoadReply, error) {
	m, err := s.load(ctx, fromSpec(req))
	if err != nil {
		return nil, toStatus(err)
	}
	return &proto.LoadReply{Handle: s.add(m), Signature: toSignature(m.signature)}, nil
}

func (s *server) load(ctx context.Context, spec backends.Spec) (loadedModel, error) {
	spec.Weights, spec.Locker = s.weights, s.locker
	m, err := s.backend.Load(ctx, spec)
	if err != nil {
		return loadedModel{}, err
	}
	debug.FreeOSMemory() // loading leaves more behind than serving needs for a long time
	signature := m.Signature()
	err = checkSignature(signature)
	if err != nil {
		err = backends.Errorf(backends.ErrInvalid, "signature of model %s: %w", spec.Model, err)
	} else {
		err = ctx.Err() // nobody waits for the model any more
	}
	if err != nil {
		return loadedModel{}, errors.Join(err, m.Close())
	}
	return loadedModel{m, signature}, nil
}

func (s *server) add(m loadedModel) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.loaded[s.last] = m
	return s.last
}

func (s *server) Predict(ctx context.Context, req *proto.PredictRequest) (*proto.PredictReply, error) {
	out, err := s.predict(ctx, req)
	if err != nil {
		return nil, toStatus(err)
	}
	return reply(out), nil
}

// reply gives an answer that was lent back at once: gRPC reads the reply only after the
// handler has returned.
func reply(out backends.Batch) *proto.PredictReply {
	defer out.Release()
	m := toAnswer(out)
	if out.Lease != nil {
		for _, t := range m.Tensors {
			t.Shape, t.Data = slices.Clone(t.Shape), bytes.Clone(t.Data)
		}
	}
	return m
}

func (s *server) predict(ctx context.Context, req *proto.PredictRequest) (backends.Batch, error) {
	m, err := s.model(req.GetHandle())
	if err != nil {
		return backends.Batch{}, err
	}
	in, err := fromBatch(req)
	if err != nil {
		return backends.Batch{}, err
	}
	if err := m.signature.Check(in); err != nil {
		return backends.Batch{}, err
	}
	return m.Predict(ctx, in)
}

func (s *server) model(handle uint64) (loadedModel, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.loaded[handle]
	if !ok {
		return loadedModel{}, backends.Errorf(backends.ErrUnavailable, "the model is not loaded")
	}
	return m, nil
}

// maxProfile bounds a profile: how often a batch is computed, and its size in bytes.
const (
	maxProfileTimes = 1000
	maxProfileBytes = 256 << 20
)

// Profile measures what a batch of zeros costs the model.
func (s *server) Profile(ctx context.Context, req *proto.ProfileRequest) (*proto.ProfileReply, error) {
	m, err := s.model(req.GetHandle())
	if err != nil {
		return nil, toStatus(err)
	}
	in, err := zeros(m.signature, req.GetRows())
	if times := req.GetTimes(); err == nil && (times < 1 || times > maxProfileTimes) {
		err = backends.Errorf(backends.ErrInvalid, "%d times: use 1 to %d", times, maxProfileTimes)
	}
	if err != nil {
		return nil, toStatus(err)
	}
	reply := &proto.ProfileReply{}
	for range req.GetTimes() {
		begin := time.Now()
		out, err := m.Predict(ctx, in)
		took := time.Since(begin)
		if err != nil {
			return nil, toStatus(err)
		}
		out.Release()
		reply.Nanoseconds = append(reply.Nanoseconds, int64(took))
	}
	return reply, nil
}

// Devices says what devices say of themselves.
func (s *server) Devices(ctx context.Context, _ *proto.DevicesRequest) (*proto.DevicesReply, error) {
	m, ok := s.backend.(Meter)
	if !ok {
		return nil, toStatus(backends.Errorf(backends.ErrUnsupported, "this backend has no devices"))
	}
	all, err := m.Devices(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &proto.DevicesReply{Devices: each(all, toDevice)}, nil
}

// zeros is a batch of that many rows of zeros, with every input that is not optional, and 1 for
// every other dimension that varies.
func zeros(s backends.Signature, rows int64) (backends.Batch, error) {
	if rows < 1 || !s.Batched && rows > 1 {
		return backends.Batch{}, backends.Errorf(backends.ErrInvalid, "%d rows: use 1, or more of a model whose first dimension is a batch", rows)
	}
	var in backends.Batch
	for _, spec := range s.Inputs {
		if spec.Optional {
			continue
		}
		t := backends.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: slices.Clone(spec.Shape)}
		for i, d := range t.Shape {
			t.Shape[i] = max(d, -d)
		}
		if s.Batched {
			t.Shape[0] = rows
		}
		size := int64(cmp.Or(spec.Datatype.Size(), 4)) // of an empty text
		if n := t.Elements(); n < 0 || n > maxProfileBytes/size {
			return backends.Batch{}, backends.Errorf(backends.ErrInvalid, "input %q of shape %v takes more than %d bytes: use fewer rows", t.Name, t.Shape, maxProfileBytes)
		}
		t.Data = make([]byte, t.Elements()*size)
		in.Tensors = append(in.Tensors, t)
	}
	return in, nil
}

func (s *server) Unload(_ context.Context, req *proto.UnloadRequest) (*proto.UnloadReply, error) {
	s.mu.Lock()
	m, ok := s.loaded[req.GetHandle()]
	delete(s.loaded, req.GetHandle())
	s.mu.Unlock()
	if !ok {
		return &proto.UnloadReply{}, nil
	}
	return &proto.UnloadReply{}, toStatus(m.Close())
}

// recoverPanics turns a panic in a backend's method into the failure of one call. A panic in
// a goroutine that the backend started still ends the process, which the host survives.
func recoverPanics(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("panic in the backend", "method", info.FullMethod, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = status.Errorf(codes.Internal, "panic in the backend: %v", p)
		}
	}()
	return next(ctx, req)
}
