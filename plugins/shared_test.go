package plugins

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins/shm"
)

// wordy is a backend whose one model answers with as many bytes as its input says, in several
// tensors.
type wordy struct{ backends.Backend }

func (wordy) Info(context.Context) (backends.Info, error) { return backends.Info{Name: "wordy"}, nil }
func (wordy) Close() error                                { return nil }
func (wordy) Load(context.Context, backends.Spec) (backends.Model, error) {
	return wordyModel{}, nil
}

type wordyModel struct{}

func (wordyModel) Close() error { return nil }
func (wordyModel) Signature() backends.Signature {
	return backends.Signature{
		Inputs: []backends.TensorSpec{{Name: "letter", Datatype: backends.Bytes, Shape: []int64{-1}}},
		Outputs: []backends.TensorSpec{
			{Name: "word", Datatype: backends.Bytes, Shape: []int64{1}},
			{Name: "bytes", Datatype: backends.Uint8, Shape: []int64{-1}},
		},
	}
}

func (wordyModel) Predict(_ context.Context, in backends.Batch) (backends.Batch, error) {
	n := in.Tensors[0].Shape[0] << 10
	word := bytes.Repeat([]byte("w"), int(n))
	return backends.Batch{Tensors: []backends.Tensor{
		{Name: "word", Datatype: backends.Bytes, Shape: []int64{1}, Data: backends.AppendBytesElement(nil, word)},
		{Name: "bytes", Datatype: backends.Uint8, Shape: []int64{n}, Data: word},
	}}, nil
}

func letters(n int) backends.Batch {
	return backends.Batch{Tensors: []backends.Tensor{{
		Name: "letter", Datatype: backends.Bytes, Shape: []int64{int64(n)}, Data: make([]byte, 4*n),
	}}}
}

func TestAnswersLargerThanExpected(t *testing.T) {
	p := start(t, command("wordy"), Options{Transport: TransportShared, MaxMemory: 64 << 20})
	m, err := p.Load(t.Context(), backends.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 100, 3, 5000} { // in KiB, twice
		out, err := m.Predict(t.Context(), letters(n))
		if err != nil || len(out.Tensors[0].Data) != n<<10+4 || len(out.Tensors[1].Data) != n<<10 {
			t.Fatalf("Predict for %d KiB = %v", n, err)
		}
		if bytes.Count(out.Tensors[1].Data, []byte("w")) != n<<10 {
			t.Errorf("the answer of %d KiB is not what was written", n)
		}
		out.Release()
	}
	if _, err := m.Predict(t.Context(), letters(64<<10)); !errors.Is(err, backends.ErrTooLarge) || !strings.Contains(err.Error(), "67108864") {
		t.Errorf("Predict past MaxMemory = %v, want an ErrTooLarge that names it", err)
	}
	if _, err := m.Predict(t.Context(), letters(1)); err != nil {
		t.Errorf("Predict after that = %v", err)
	}
}

// liar serves a fake on the control connection and answers every call through shared memory with
// what lie makes of a good reply.
func liar(lie func(r shm.Request, good []byte) shm.Answer) {
	slog.SetDefault(newPluginLog(os.Stderr))
	s := newServer(fake())
	exitWithHost()
	s.share()
	answer := func(ctx context.Context, r shm.Request) shm.Answer {
		a := s.answer(ctx, r)
		if a.Code != codeAnswer {
			return a
		}
		return lie(r, r.Room[:a.Length])
	}
	go func() { s.working(s.memory.Serve(1, answer)) }()
	s.once.Do(func() {})
	goplugin.Serve(&goplugin.ServeConfig{HandshakeConfig: handshake(ProtocolVersion), Plugins: plugins(s), GRPCServer: newGRPCServer})
}

// liars break what the host relies on, each in its way.
var liars = map[string]func(r shm.Request, good []byte) shm.Answer{
	"liar: short":        func(_ shm.Request, good []byte) shm.Answer { return shm.Answer{Length: len(good) - 1} },
	"liar: empty":        func(shm.Request, []byte) shm.Answer { return shm.Answer{} },
	"liar: code":         func(shm.Request, []byte) shm.Answer { return shm.Answer{Code: 99} },
	"liar: more room":    func(shm.Request, []byte) shm.Answer { return shm.Answer{Code: codeMoreRoom, Tag: 1} },
	"liar: endless room": func(shm.Request, []byte) shm.Answer { return shm.Answer{Code: codeMoreRoom, Tag: 1 << 60} },
	"liar: rows": func(_ shm.Request, good []byte) shm.Answer {
		good[16+24]++ // the first dimension of the first tensor
		return shm.Answer{Length: len(good)}
	},
	"liar: name": func(_ shm.Request, good []byte) shm.Answer {
		good[16] ^= 1
		return shm.Answer{Length: len(good)}
	},
	"liar: too long": func(r shm.Request, _ []byte) shm.Answer { return shm.Answer{Length: len(r.Room) + 1} },
}

func TestLiarIsKilled(t *testing.T) {
	for name := range liars {
		t.Run(name, func(t *testing.T) {
			p := start(t, command(name), Options{Transport: TransportShared})
			m := load(t, p, 1)
			out, err := m.Predict(t.Context(), rows(3))
			if !isCrash(err) || len(out.Tensors) > 0 {
				t.Errorf("Predict = %v, %v, want ErrCrashed", out, err)
			}
			within(t, "Done", p.Done())
			if _, err := m.Predict(t.Context(), rows(3)); !errors.Is(err, backends.ErrUnavailable) || errors.Is(err, backends.ErrCrashed) {
				t.Errorf("Predict after that = %v, want ErrUnavailable alone", err)
			}
			if n := m.(*Model).shared.pool.Taken(); n != 0 {
				t.Errorf("%d slots taken, want none", n)
			}
		})
	}
}

func TestTransportIsNegotiated(t *testing.T) {
	for situation, test := range map[string]struct {
		role string
		o    Options
		want string
	}{
		"both can":                {"fake", Options{}, TransportShared},
		"the host wants gRPC":     {"fake", Options{Transport: TransportGRPC}, TransportGRPC},
		"the plugin knows no shm": {"deaf", Options{}, TransportGRPC},
	} {
		t.Run(situation, func(t *testing.T) {
			log := newRecords()
			test.o.Log = slog.New(log)
			p := start(t, command(test.role), test.o)
			m := load(t, p, 1)
			if got := m.(*Model).Transport(); got != test.want || p.Transport() != test.want {
				t.Errorf("Transport = %q of the model, %q of the process, want %q", got, p.Transport(), test.want)
			}
			if got := attrsOf(log.next(t, "plugin started"))["tensors"]; got != test.want {
				t.Errorf("logged tensors=%q, want %q", got, test.want)
			}
			if _, err := m.Predict(t.Context(), rows(2)); err != nil {
				t.Errorf("Predict = %v", err)
			}
		})
	}
	if _, err := Start(t.Context(), command("deaf"), Options{Transport: TransportShared, CloseTimeout: time.Millisecond}); err == nil || !strings.Contains(err.Error(), "gRPC") {
		t.Errorf("Start that demands shared memory = %v, want an error that says what to do", err)
	}
	if _, err := Start(t.Context(), command("fake"), Options{Transport: "pigeon"}); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("Start by pigeon = %v, want ErrInvalid", err)
	}
}

func TestProfile(t *testing.T) {
	for _, transport := range []string{TransportShared, TransportGRPC} {
		m := load(t, start(t, command("fake"), Options{Transport: transport}), 3).(*Model)
		took, err := m.Profile(t.Context(), 5, 7)
		if err != nil || len(took) != 7 {
			t.Errorf("%s: Profile = %v, %v, want 7 durations", transport, took, err)
		}
		for _, bad := range [][2]int{{0, 1}, {-1, 1}, {1, 0}, {1, maxProfileTimes + 1}, {1 << 40, 1}} {
			if _, err := m.Profile(t.Context(), bad[0], bad[1]); !errors.Is(err, backends.ErrInvalid) {
				t.Errorf("%s: Profile%v = %v, want ErrInvalid", transport, bad, err)
			}
		}
	}
}

func TestJoinedPartsMustFit(t *testing.T) {
	m := load(t, start(t, command("fake"), Options{}), 1).(*Model)
	other := rows(2)
	other.Tensors = append(other.Tensors, other.Tensors[0])
	if _, err := m.PredictJoined(t.Context(), []backends.Batch{rows(1), other}); err == nil {
		t.Error("PredictJoined of parts with different tensors succeeded")
	}
}

func TestClosingLeavesNoMemory(t *testing.T) {
	files := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	maps := func() int {
		text, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "memfd:thrum")
	}
	open := func() {
		p := start(t, command("fake"), Options{})
		m := load(t, p, 1)
		out, err := m.Predict(t.Context(), rows(2))
		if err != nil {
			t.Fatal(err)
		}
		out.Release()
		if err := errors.Join(m.Close(), p.Close()); err != nil {
			t.Fatal(err)
		}
	}
	open()
	filesBefore, mapsBefore := files(), maps()
	for range 3 {
		open()
	}
	if f, m := files(), maps(); f > filesBefore || m > mapsBefore {
		t.Errorf("%d files, were %d; %d mappings, were %d", f, filesBefore, m, mapsBefore)
	}
}

func TestAHeadPastItsBoundIsRefused(t *testing.T) {
	m := load(t, start(t, command("fake"), Options{Transport: TransportShared}), 1)
	in := rows(1)
	in.Parameters = []backends.Parameter{{Name: "note", Value: `"` + strings.Repeat("x", maxHead) + `"`}}
	if _, err := m.Predict(t.Context(), in); !errors.Is(err, backends.ErrTooLarge) || !strings.Contains(err.Error(), "send fewer or shorter parameters") {
		t.Errorf("Predict = %v, want an ErrTooLarge that says what to do", err)
	}
	in.Parameters[0].Value = in.Parameters[0].Value[:maxHead/2]
	if _, err := m.Predict(t.Context(), in); err != nil {
		t.Errorf("Predict of half as much = %v", err)
	}
}
