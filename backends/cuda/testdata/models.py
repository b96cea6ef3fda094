"""Writes the models that the tests of this package run: python models.py FOLDER. It needs onnx and numpy."""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper


class Graph:
    def __init__(self):
        self.nodes, self.weights, self.rng = [], [], np.random.default_rng(1)

    def const(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def random(self, *shape):
        return self.const((self.rng.standard_normal(shape) / np.sqrt(shape[0] if len(shape) < 3 else np.prod(shape[1:]))).astype(np.float32))

    def op(self, op, *inputs, **attrs):
        name = f"v{len(self.nodes)}"
        self.nodes.append(h.make_node(op, list(inputs), [name], name=f"{op}_{len(self.nodes)}", **attrs))
        return name

    def save(self, folder, inputs, outputs):
        folder.mkdir(parents=True, exist_ok=True)
        for name, old in outputs.items():
            self.nodes.append(h.make_node("Identity", [old[0]], [name]))
        g = h.make_graph(
            self.nodes, folder.name,
            [h.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
            [h.make_tensor_value_info(n, T.FLOAT, s) for n, (_, s) in outputs.items()], self.weights,
        )
        m = h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(m)
        onnx.save(m, folder / "model.onnx")


def encoder(folder, layers=2, width=64, heads=2, words=50):
    """A BERT of two layers as PyTorch exports it: every function spelled out."""
    g = Graph()
    f = lambda v: g.const(np.float32(v))

    def norm(x):
        d = g.op("Sub", x, g.op("ReduceMean", x, axes=[-1]))
        v = g.op("ReduceMean", g.op("Pow", d, f(2)), axes=[-1])
        y = g.op("Div", d, g.op("Sqrt", g.op("Add", v, f(1e-12))))
        return g.op("Add", g.op("Mul", y, g.const(1 + 0.1 * g.rng.standard_normal(width).astype(np.float32))), g.random(width))

    def layer(x, a, b):
        return g.op("Add", g.random(b), g.op("MatMul", x, g.random(a, b)))

    mask = g.op("Cast", g.op("Unsqueeze", "mask", g.const(np.array([1, 2]))), to=T.FLOAT)
    mask = g.op("Mul", g.op("Sub", f(1), mask), f(-10000))
    shape = g.op("Shape", "ids")
    length = g.op("Gather", shape, g.const(np.int64(1)), axis=0)
    positions = g.op("Slice", g.const(g.rng.standard_normal((1, 32, width)).astype(np.float32)), g.const(np.array([0])), g.op("Unsqueeze", length, g.const(np.array([0]))), g.const(np.array([1])))
    x = norm(g.op("Add", g.op("Gather", g.random(words, width), "ids"), positions))
    for _ in range(layers):
        q, k, v = (g.op("Reshape", layer(x, width, width), g.const(np.array([0, 0, heads, width // heads]))) for _ in range(3))
        q, v = (g.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
        k = g.op("Transpose", k, perm=[0, 2, 3, 1])
        scores = g.op("Add", g.op("Div", g.op("MatMul", q, k), f(np.sqrt(width // heads))), mask)
        y = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        y = layer(g.op("Reshape", y, g.const(np.array([0, 0, width]))), width, width)
        x = norm(g.op("Add", y, x))
        y = layer(x, width, 2 * width)
        y = g.op("Mul", g.op("Mul", y, g.op("Add", g.op("Erf", g.op("Div", y, f(np.sqrt(2)))), f(1))), f(0.5))
        x = norm(g.op("Add", layer(y, 2 * width, width), x))
    ids = (T.INT64, ["batch", "words"])
    g.save(folder, {"ids": ids, "mask": ids}, {"hidden": (x, ["batch", "words", width]), "first": (g.op("Gather", x, g.const(np.int64(0)), axis=1), ["batch", width])})


def network(folder):
    """A residual network with a depthwise layer, squeezing and pooling."""
    g = Graph()

    def conv(x, a, b, size, groups=1, **attrs):
        x = g.op("Conv", x, g.random(b, a // groups, size, size), pads=[size // 2] * 4, group=groups, **attrs)
        stats = [g.const(s.astype(np.float32)) for s in (1 + 0.1 * g.rng.standard_normal(b), g.rng.standard_normal(b), g.rng.standard_normal(b), 1 + g.rng.random(b))]
        return g.op("BatchNormalization", x, *stats)

    x = g.op("Relu", conv("image", 3, 16, 3, strides=[2, 2]))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for a, b in ((16, 16), (16, 32)):
        y = g.op("Relu", conv(x, a, b, 3))
        y = conv(y, b, b, 3)
        x = g.op("Relu", g.op("Add", y, x if a == b else conv(x, a, b, 1)))
    y = conv(x, 32, 32, 3, groups=32)
    y = g.op("Mul", y, g.op("HardSigmoid", y, alpha=1 / 6))
    squeezed = g.op("Relu", g.op("Conv", g.op("GlobalAveragePool", y), g.random(8, 32, 1, 1), g.random(8)))
    y = g.op("Mul", y, g.op("Sigmoid", g.op("Conv", squeezed, g.random(32, 8, 1, 1), g.random(32))))
    x = g.op("Concat", x, y, axis=1)
    x = g.op("Flatten", g.op("GlobalAveragePool", x))
    g.save(folder, {"image": (T.FLOAT, ["batch", 3, 20, 20])}, {"scores": (g.op("Softmax", g.op("Gemm", x, g.random(10, 64), g.random(10), transB=1)), ["batch", 10])})


def layers(folder):
    """Two layers: the least that a server can be asked for."""
    g = Graph()
    x = g.op("Relu", g.op("Gemm", "x", g.random(8, 16), g.random(16)))
    g.save(folder, {"x": (T.FLOAT, ["batch", 8])}, {"y": (g.op("Gemm", x, g.random(16, 4), g.random(4)), ["batch", 4])})


class Bytes(Graph):
    """A graph of products of eight bits."""

    def rows(self, x, scale, zero, kind):
        scale, zero = self.const(np.float32(scale)), self.const(kind(zero))
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, scale, zero), scale, zero)

    def matrix(self, scales, *shape, axis):
        w = self.const(self.rng.integers(-127, 128, shape).astype(np.int8))
        scales = np.asarray(scales, np.float32)
        return self.op("DequantizeLinear", w, self.const(scales), self.const(np.zeros(scales.shape, np.int8)), **({"axis": axis} if scales.shape else {}))


def quantized(folder):
    """Three layers of eight bits: a scale for all, one for each column, and a matrix that lies the other way round."""
    g = Bytes()
    x = g.op("Add", g.op("MatMul", g.rows("x", 0.02, 130, np.uint8), g.matrix(0.002, 8, 33, axis=1)), g.random(33))
    x = g.op("Relu", x)
    x = g.op("MatMul", g.rows(x, 0.02, 3, np.uint8), g.matrix(0.001 + 0.001 * g.rng.random(20), 33, 20, axis=1))
    x = g.op("Gemm", g.rows(x, 0.03, -5, np.int8), g.matrix(0.001 + 0.001 * g.rng.random(6), 6, 20, axis=0), g.random(6), transB=1)
    g.save(folder, {"x": (T.FLOAT, ["batch", 8])}, {"y": (x, ["batch", 6])})


def signed(folder):
    """Two layers of signed bytes, of sizes that libraries take."""
    g = Bytes()
    x = g.op("Add", g.op("MatMul", g.rows("x", 0.02, 0, np.int8), g.matrix(0.002, 8, 32, axis=1)), g.random(32))
    x = g.op("MatMul", g.rows(g.op("Relu", x), 0.02, -5, np.int8), g.matrix(0.001 + 0.001 * g.rng.random(16), 32, 16, axis=1))
    g.save(folder, {"x": (T.FLOAT, ["batch", 8])}, {"y": (x, ["batch", 16])})


def pixels(folder):
    """A residual network of eight bits: windows over a zero point, groups, a layer of channels by themselves, bytes that are pooled, added and put beside each other."""
    g = Bytes()

    def conv(x, a, b, size, groups=1, bias=True, **attrs):
        w = g.matrix((0.2 + g.rng.random(b)) / (70 * size * np.sqrt(a // groups)), b, a // groups, size, size, axis=0)
        return g.op("Conv", x, w, *([g.random(b)] if bias else []), pads=[size // 2] * 4, group=groups, **attrs)

    x = g.op("Relu", conv(g.rows("image", 0.03, 120, np.uint8), 3, 16, 3, strides=[2, 2]))
    x = g.rows(g.op("MaxPool", g.rows(x, 0.03, 4, np.uint8), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 0.03, 4, np.uint8)
    y = g.rows(g.op("Relu", conv(x, 16, 24, 3, groups=2)), 0.02, 0, np.uint8)
    y = g.rows(conv(y, 24, 16, 1), 0.04, -3, np.int8)
    x = g.rows(g.op("Relu", g.op("Add", y, x)), 0.03, 7, np.int8)
    y = g.rows(conv(x, 16, 16, 5, groups=16, bias=False), 0.03, 7, np.int8)
    y = g.op("Add", conv(g.rows(g.op("Concat", x, y, axis=1), 0.03, 7, np.int8), 32, 16, 3), x)
    y = g.op("Clip", y, g.const(np.float32(0)), g.const(np.float32(3)))
    x = g.op("Flatten", g.op("GlobalAveragePool", g.rows(y, 0.02, 5, np.uint8)))
    x = g.op("Gemm", g.rows(x, 0.02, 2, np.uint8), g.matrix(0.002 + 0.001 * g.rng.random(10), 10, 16, axis=0), g.random(10), transB=1)
    g.save(folder, {"image": (T.FLOAT, ["batch", 3, 20, 20])}, {"scores": (x, ["batch", 10])})


def means(folder):
    """Means of bytes: of windows, with padding that counts and without, and of whole images; to bytes and to numbers."""
    g = Bytes()
    x = g.rows("image", 0.03, 120, np.uint8)
    x = g.rows(g.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1), 0.02, -3, np.int8)
    part = g.op("AveragePool", x, kernel_shape=[2, 2], pads=[0, 0, 1, 1])
    all_ = g.rows(g.op("GlobalAveragePool", x), 0.01, 7, np.uint8)
    g.save(folder, {"image": (T.FLOAT, ["batch", 3, 9, 10])}, {"part": (part, ["batch", 3, 5, 5]), "all": (all_, ["batch", 3, 1, 1])})


def spelled(folder):
    """Functions of elements one after the other, with rows and masks, and sums that are normalised."""
    g = Graph()
    f = lambda v: g.const(np.float32(v))
    mask = g.op("Greater", "x", f(-9))  # no number comes near, so that none is rounded to the other side
    x = g.op("Add", g.op("Mul", "x", g.random(24)), g.random(24))
    x = g.op("Mul", g.op("Mul", x, f(0.5)), g.op("Add", g.op("Tanh", g.op("Div", "x", f(3))), f(1)))
    x = g.op("Where", g.op("And", mask, g.op("Not", g.op("Less", "y", f(-9)))), x, f(-0.25))
    sum_ = g.op("Add", x, "y")
    a = g.op("LayerNormalization", sum_, g.random(24), g.random(24), axis=-1)
    b = g.op("Sigmoid", g.op("Sub", sum_, g.op("ReduceMean", sum_, axes=[2])))
    c = g.op("LayerNormalization", g.op("Add", b, g.random(5, 24)), g.random(24), axis=-1)
    row = (T.FLOAT, ["batch", 5, 24])
    g.save(folder, {"x": row, "y": row}, {"a": (a, row[1]), "b": (g.op("Mul", b, g.op("ReduceMax", "y", axes=[2])), row[1]), "c": (c, row[1])})


def trees(rng, scores, held, count=3, depth=3, weight=lambda rng: rng.standard_normal()):
    """Attributes of random trees whose leaves speak of held(rng) of the scores."""
    nodes, leaves = [], []

    def grow(tree, depth):
        at = len(nodes)
        nodes.append(None)
        if depth == 0 or rng.random() < 0.2:
            nodes[at] = (tree, at, 0, "LEAF", 0.0, 0, 0)
            leaves.extend((tree, at, int(c), float(weight(rng))) for c in rng.choice(scores, held(rng), replace=False))
            return at
        yes, no = grow(tree, depth - 1), grow(tree, depth - 1)
        nodes[at] = (tree, at, int(rng.integers(4)), "BRANCH_LEQ", float(rng.standard_normal()), yes, no)
        return at

    for tree in range(count):
        grow(tree, depth)
    columns = lambda names, rows: dict(zip(names, map(list, zip(*rows))))
    return columns(["nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values", "nodes_truenodeids", "nodes_falsenodeids"], nodes) | columns(
        ["class_treeids", "class_nodeids", "class_ids", "class_weights"], leaves)


def based(folder):
    """Classifiers of two classes with all that base values, leaves and transforms can be."""
    rng = np.random.default_rng(2)
    made, values = [], []
    for scores in [0], [1], [0, 1]:
        for base in [], [0.3], [-0.2, 0.4]:
            for transform in "NONE", "LOGISTIC", "SOFTMAX":
                for all_seen, positive in (False, False), (False, True), (True, False):
                    if len(scores) == 2 and len(base) == 1 and not all_seen:
                        continue  # where ONNX Runtime transforms some rows and others not
                    name = f"{len(made)}"
                    held = lambda rng: len(scores) if all_seen else rng.integers(0, len(scores) + 1)
                    weight = lambda rng: rng.random() if positive else rng.standard_normal()
                    made.append(h.make_node(
                        "TreeEnsembleClassifier", ["x"], ["class" + name, "scores" + name], domain="ai.onnx.ml", post_transform=transform, classlabels_int64s=[3, 5],
                        **({"base_values": base} if base else {}), **trees(rng, scores, held, 2, 2, weight)))
                    values += [h.make_tensor_value_info("class" + name, T.INT64, ["batch"]), h.make_tensor_value_info("scores" + name, T.FLOAT, ["batch", 2])]
    g = h.make_graph(made, folder.name, [h.make_tensor_value_info("x", T.FLOAT, ["batch", 4])], values)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(h.make_model(g, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)], ir_version=8), folder / "model.onnx")


def forest(folder, classes, scores, transform, names=None):
    """Trees whose leaves speak of some classes only, or of none. Where classes have names, scores are a map from them."""
    made_of = trees(np.random.default_rng(classes), scores, lambda rng: rng.integers(0, 2 if classes > 2 else len(scores) + 1))
    labels = {"classlabels_strings": names} if names else {"classlabels_int64s": [7 * c + 1 for c in range(classes)]}
    node = h.make_node(
        "TreeEnsembleClassifier", ["x"], ["class", "p" if names else "scores"], domain="ai.onnx.ml", post_transform=transform, **labels, **made_of)
    made, values = [node], [h.make_tensor_value_info("class", T.INT64, ["batch"]), h.make_tensor_value_info("scores", T.FLOAT, ["batch", classes])]
    if names:
        made.append(h.make_node("ZipMap", ["p"], ["scores"], domain="ai.onnx.ml", **labels))
        of = h.make_sequence_type_proto(h.make_map_type_proto(T.STRING, h.make_tensor_type_proto(T.FLOAT, [])))
        values = [h.make_tensor_value_info("class", T.STRING, ["batch"]), h.make_value_info("scores", of)]
    g = h.make_graph(made, folder.name, [h.make_tensor_value_info("x", T.FLOAT, ["batch", 4])], values)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(h.make_model(g, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)], ir_version=8), folder / "model.onnx")


if __name__ == "__main__":
    to = Path(sys.argv[1])
    encoder(to / "encoder")
    network(to / "network")
    layers(to / "layers")
    quantized(to / "quantized")
    signed(to / "quantized-signed")
    pixels(to / "quantized-pixels")
    means(to / "quantized-means")
    spelled(to / "spelled")
    forest(to / "forest", 4, [0, 1, 2, 3], "SOFTMAX")
    forest(to / "pair", 2, [0, 1], "NONE")
    forest(to / "second", 2, [1], "LOGISTIC")
    forest(to / "many", 500, list(range(500)), "SOFTMAX")
    based(to / "based")
    forest(to / "named", 3, [0, 1, 2], "SOFTMAX", ["setosa", "", "virginica"])
    forest(to / "named-pair", 2, [1], "LOGISTIC", ["no", "yes"])
