package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/bench/peers/engine"
	"github.com/thrumserve/thrum/bench/turns"
)

// Cosines that answers have to have at least.
const (
	sameToRounding = 0.99999
	sameInBF16     = 0.999
	sameInInt8     = 0.999
)

// encoder is 12 layers of BERT-base, 128 tokens.
func (l *lab) encoder(ctx context.Context) ([]turns.Finding, error) {
	m, err := l.model("encoder")
	if err != nil {
		return nil, err
	}
	var duels []duel
	for _, batch := range []string{"1", "8"} {
		d := duel{model: m, what: "BERT-base encoder, batch " + batch, inputs: batch, threads: 2}
		duels = append(duels,
			d.of("bf16", engine.OnnxRuntime, "fp32", map[string]float64{"1": 3, "8": 4}[batch], sameInBF16),
			d.of("bf16", engine.OpenVINO, "bf16", 1, sameInBF16),
			d.of("fp32", engine.OnnxRuntime, "fp32", 0, sameToRounding),
			d.of("int8", engine.OnnxRuntime, "fp32", 0, 0))
	}
	return l.fights(ctx, duels)
}

// of returns the duel with these opponents and targets.
func (d duel) of(precision, peer, peerPrecision string, target, cosine float64) duel {
	d.precision, d.peer, d.peerPrecision, d.target, d.cosine = precision, peer, peerPrecision, target, cosine
	return d
}

// minilm is all-MiniLM-L6-v2 with its trained weights.
func (l *lab) minilm(ctx context.Context) ([]turns.Finding, error) {
	m, err := l.model("minilm")
	if err != nil {
		return nil, err
	}
	var duels []duel
	for _, batch := range []string{"1", "8"} {
		d := duel{model: m, what: "all-MiniLM-L6-v2, batch " + batch, inputs: batch, threads: 2}
		duels = append(duels, d.of("bf16", engine.OpenVINO, "bf16", 1, sameInBF16), d.of("fp32", engine.OnnxRuntime, "fp32", 0, sameToRounding))
	}
	return l.fights(ctx, duels)
}

// mlp is the smallest model that people serve.
func (l *lab) mlp(ctx context.Context) ([]turns.Finding, error) {
	m, err := l.model("mlp")
	if err != nil {
		return nil, err
	}
	d := duel{model: m, what: "MLP 784-512-256-10, batch 1", inputs: "1", threads: 1}
	return l.fights(ctx, []duel{
		d.of("fp32", engine.OnnxRuntime, "fp32", 3, sameToRounding), d.of("bf16", engine.OnnxRuntime, "fp32", 3, sameInBF16),
		d.of("int8", engine.OnnxRuntime, "fp32", 3, sameInInt8),
	})
}

func (l *lab) resnet(ctx context.Context) ([]turns.Finding, error) {
	return l.images(ctx, "resnet50", "ResNet-50", 3)
}

func (l *lab) mobilenet(ctx context.Context) ([]turns.Finding, error) {
	return l.images(ctx, "mobilenet_v3", "MobileNetV3-Large", 0)
}

// efficientnet is a network of MobileNet's kind with trained weights.
func (l *lab) efficientnet(ctx context.Context) ([]turns.Finding, error) {
	return l.images(ctx, "efficientnet", "EfficientNet-Lite0", 0)
}

// images compares an image network at both precisions, and what it makes of many images.
func (l *lab) images(ctx context.Context, name, what string, target float64) ([]turns.Finding, error) {
	m, err := l.model(name)
	if err != nil {
		return nil, err
	}
	var duels []duel
	for _, batch := range []string{"1", "8"} {
		d := duel{model: m, what: what + ", batch " + batch, inputs: batch, threads: 2}
		duels = append(duels, d.of("fp32", engine.OnnxRuntime, "fp32", 0.9, sameToRounding), d.of("bf16", engine.OnnxRuntime, "fp32", target, sameInBF16))
	}
	all, err := l.fights(ctx, duels)
	agreement, lateErr := l.agreement(ctx, m, what)
	return append(all, agreement...), errors.Join(err, lateErr)
}

// agreement compares the classes that bf16 and fp32 find in many images.
func (l *lab) agreement(ctx context.Context, m engine.Model, what string) ([]turns.Finding, error) {
	inputs, err := m.Inputs("many")
	if err != nil {
		return nil, err
	}
	if l.short {
		inputs[0] = rows(inputs[0], 0, 32)
	}
	exact, err := classes(ctx, m, "fp32", inputs[0])
	if err != nil {
		return nil, err
	}
	rounded, err := classes(ctx, m, "bf16", inputs[0])
	if err != nil {
		return nil, err
	}
	others, err := l.othersClasses(ctx, m, inputs[0])
	if err != nil {
		return nil, err
	}
	same := agreeing(exact, rounded)
	return []turns.Finding{{
		What:     fmt.Sprintf("%s, top-1 of bf16 and fp32, %s", what, m.Note),
		Measured: fmt.Sprintf("%d of %d images agree, of OpenVINO's bf16 %d", same, len(exact), agreeing(exact, others)),
		Target:   "≥ 99 %", Verdict: turns.Judge(100*same >= 99*len(exact)),
	}}, nil
}

func agreeing(a, b []int) (n int) {
	for i := range a {
		if a[i] == b[i] {
			n++
		}
	}
	return n
}

// othersClasses is what OpenVINO finds in each image with bf16: it shows what the model makes of rounding.
func (l *lab) othersClasses(ctx context.Context, m engine.Model, images backends.Tensor) (all []int, err error) {
	peer, err := l.python(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, peer.Close()) }()
	const batch = 32
	for i := int64(0); i < images.Shape[0]; i += batch {
		part := []backends.Tensor{rows(images, i, min(batch, images.Shape[0]-i))}
		_, err := peer.Load(engine.Load{Engine: engine.OpenVINO, Model: m.File(), Threads: 2, Precision: "bf16", Inputs: part})
		if err != nil {
			return nil, err
		}
		outputs, err := peer.Outputs()
		if err != nil {
			return nil, err
		}
		all = append(all, largestOfRows(outputs[0])...)
	}
	return all, nil
}

// classes returns the largest output of each image.
func classes(ctx context.Context, m engine.Model, precision string, images backends.Tensor) (all []int, err error) {
	loaded, err := open(ctx, m, precision, 2)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, loaded.Close()) }()
	for i := int64(0); i < images.Shape[0]; i += 8 {
		answer, err := loaded.Predict(ctx, backends.Batch{Tensors: []backends.Tensor{rows(images, i, min(8, images.Shape[0]-i))}})
		if err != nil {
			return nil, err
		}
		all = append(all, largestOfRows(answer.Tensors[0])...)
		answer.Release()
	}
	return all, nil
}

// largestOfRows returns where the largest value of each row is.
func largestOfRows(t backends.Tensor) (all []int) {
	for row := range slices.Chunk(floats(t.Data), int(t.Shape[1])) {
		all = append(all, slices.Index(row, slices.Max(row)))
	}
	return all
}

// rows returns n rows of a tensor.
func rows(t backends.Tensor, from, n int64) backends.Tensor {
	size := int64(len(t.Data)) / t.Shape[0]
	t.Data = t.Data[from*size : (from+n)*size]
	t.Shape = append([]int64{n}, t.Shape[1:]...)
	return t
}
