"""Makes quantised models as ONNX Runtime's tools write them, from those that make.py made.

    python quantized.py DIR [name ...]

For each: DIR/<name>/1/model.onnx and DIR/<name>/reference.npz as make.py writes them, and
but for the first, whose answers are equal, DIR/<name>/agreement.json: how well an answer has to agree where a value may fall to either side of
a rounding, and whether the rows of a case go together. The weights are those of DIR's float models, and of a classifier of digits trained here.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_dynamic, quantize_static,
)
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from reference import write

ROOT = Path(sys.argv[1])
U8S8 = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
AGREEMENT = {"cosine": 0.999, "top": 0.99}


class Readings(CalibrationDataReader):
    def __init__(self, cases):
        self.cases = iter(cases)

    def get_next(self):
        return next(self.cases, None)


def cases_of(name):
    """The inputs of the cases of a model of DIR."""
    cases = {}
    with np.load(ROOT / name / "reference.npz") as arrays:
        for key in arrays.files:
            case, way, tensor = key.rsplit("/", 2)
            if way == "in":
                cases.setdefault(case, {})[tensor] = arrays[key]
    return cases


def prepared(name, folder):
    """A float model of DIR as the tools want it, with its shapes inferred, beside the model to come."""
    path = folder.parent / "float.onnx"
    quant_pre_process(ROOT / name / "1" / "model.onnx", path, skip_symbolic_shape=True)
    return path


def dynamic(name, folder, agreement=AGREEMENT, **options):
    """One scale holds for all rows of a request: row by row they get others."""
    model = onnx.load(ROOT / name / "1" / "model.onnx")
    del model.graph.value_info[:]  # what the exporter says of shapes is not always so
    quantize_dynamic(model, folder / "model.onnx", **options)
    return finish(folder, {**agreement, "together": True}, cases_of(name))


def static(name, folder, agreement=AGREEMENT, **options):
    path = prepared(name, folder)
    cases = cases_of(name)
    quantize_static(path, folder / "model.onnx", Readings(cases.values()), **options)
    path.unlink()
    return finish(folder, agreement, cases)


def finish(folder, agreement, cases):
    (folder.parent / "agreement.json").write_text(json.dumps(agreement) + "\n")
    return cases


# A perceptron that knows digits


def digits():
    data = load_digits()
    return (data.data / 16).astype(np.float32), data.target


def perceptron():
    x, y = digits()
    model = MLPClassifier((128, 64), max_iter=60, random_state=1).fit(x[:1500], y[:1500])
    nodes, weights, value = [], [], "pixels"
    for i, (w, b) in enumerate(zip(model.coefs_, model.intercepts_)):
        weights += [numpy_helper.from_array(w.astype(np.float32), f"w{i}"), numpy_helper.from_array(b.astype(np.float32), f"b{i}")]
        last = i == len(model.coefs_) - 1
        out = "scores" if last else f"sum{i}"
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [out]))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"hidden{i}"]))
            value = f"hidden{i}"
    graph = helper.make_graph(
        nodes, "digits", [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 10])], weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def of_digits(folder, quantise, agreement=AGREEMENT):
    path = folder.parent / "float.onnx"
    onnx.save(perceptron(), path)
    x, _ = digits()
    quantise(path, folder / "model.onnx", Readings([{"pixels": x[i : i + 100]} for i in range(0, 1500, 100)]))
    path.unlink()
    return finish(folder, agreement, {"one": {"pixels": x[1500:1501]}, "many": {"pixels": x[1500:1560]}})


def mlp_dynamic(folder):
    return of_digits(folder, lambda path, to, _: quantize_dynamic(path, to), {**AGREEMENT, "together": True})


def mlp_qdq(folder):
    return of_digits(folder, lambda path, to, data: quantize_static(path, to, data))


def mlp_qdq_s8s8_per_channel(folder):
    return of_digits(folder, lambda path, to, data: quantize_static(
        path, to, data, per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8))


def mlp_qoperator(folder):
    return of_digits(folder, lambda path, to, data: quantize_static(path, to, data, quant_format=QuantFormat.QOperator))


# Integers


def integers(folder):
    """Products and convolutions of every kind of bytes, whose sums have to be equal."""
    random = np.random.default_rng(1)
    kinds = {"u8": (np.uint8, TensorProto.UINT8), "i8": (np.int8, TensorProto.INT8)}
    nodes, weights, inputs, outputs = [], [], [], []

    def constant(name, kind, *shape):
        low, high = np.iinfo(kinds[kind][0]).min, np.iinfo(kinds[kind][0]).max
        weights.append(numpy_helper.from_array(random.integers(low, high + 1, shape).astype(kinds[kind][0]), name))
        return name

    for a in kinds:
        inputs.append(helper.make_tensor_value_info(f"matrix_{a}", kinds[a][1], ["rows", 771]))
        inputs.append(helper.make_tensor_value_info(f"image_{a}", kinds[a][1], ["rows", 6, 19, 17]))
        for b in kinds:
            out = f"product_{a}_{b}"
            nodes.append(helper.make_node("MatMulInteger", [
                f"matrix_{a}", constant(f"w_{out}", b, 771, 65), constant(f"za_{out}", a), constant(f"zb_{out}", b, 65),
            ], [out]))
            outputs.append(helper.make_tensor_value_info(out, TensorProto.INT32, ["rows", 65]))
    for group in (1, 2, 6):
        out = f"convolution_{group}"
        nodes.append(helper.make_node("ConvInteger", [
            "image_u8", constant(f"w_{out}", "u8", 12, 6 // group, 3, 3), constant(f"zx_{out}", "u8"), constant(f"zw_{out}", "u8"),
        ], [out], pads=[1, 1, 1, 1], strides=[1, 2], group=group))
        outputs.append(helper.make_tensor_value_info(out, TensorProto.INT32, ["rows", 12, 19, 9]))
    inputs = [i for i in inputs if i.name != "image_i8"]
    graph = helper.make_graph(nodes, "integers", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")

    def case(rows):
        return {
            "matrix_u8": random.integers(0, 256, (rows, 771)).astype(np.uint8),
            "image_u8": random.integers(0, 256, (rows, 6, 19, 17)).astype(np.uint8),
            "matrix_i8": random.integers(-128, 128, (rows, 771)).astype(np.int8),
        }

    return {"one": case(1), "some": case(19)}


# Convolutions

VISION = {"cosine": 0.99, "top": 0.9}  # random weights: the classes are close to each other


def resnet18_qdq(folder):
    return static("resnet18", folder, VISION, per_channel=True, **U8S8)


def resnet18_qdq_u8u8(folder):
    return static("resnet18", folder, VISION, activation_type=QuantType.QUInt8, weight_type=QuantType.QUInt8)


def resnet18_qoperator(folder):
    return static("resnet18", folder, VISION, per_channel=True, **U8S8, quant_format=QuantFormat.QOperator)


def resnet18_dynamic(folder):
    return dynamic("resnet18", folder, VISION, weight_type=QuantType.QUInt8)


def mobilenet_v3_qdq(folder):
    return static("mobilenet_v3_large", folder, VISION, per_channel=True, **U8S8)


# Attention

TEXT = {"cosine": 0.998, "top": 0.95}  # padding has tokens too, whose values are of no use
TOGETHER = {"cosine": 0.99, "top": 0.95}  # a scale of all tokens: ONNX Runtime without its fusions is no nearer to itself


def minilm_dynamic(folder):
    return dynamic("minilm_torchscript", folder, TOGETHER, weight_type=QuantType.QInt8)


def minilm_dynamic_per_channel(folder):
    return dynamic("minilm_torchscript", folder, TOGETHER, weight_type=QuantType.QInt8, per_channel=True, reduce_range=False)


# What is quantised of BERT: with its norms, which square what they are given, nothing of it would be left.
PRODUCTS = {"op_types_to_quantize": ["MatMul", "Gemm", "Reshape", "Transpose"], **U8S8}


def minilm_qdq(folder):
    return static("minilm_torchscript", folder, TEXT, per_channel=True, **PRODUCTS)


def minilm_qoperator(folder):
    return static("minilm_torchscript", folder, TEXT, **PRODUCTS, quant_format=QuantFormat.QOperator)


MODELS = [
    integers, mlp_dynamic, mlp_qdq, mlp_qdq_s8s8_per_channel, mlp_qoperator, resnet18_qdq, resnet18_qdq_u8u8, resnet18_qoperator,
    resnet18_dynamic, mobilenet_v3_qdq, minilm_dynamic, minilm_dynamic_per_channel, minilm_qdq, minilm_qoperator,
]


if __name__ == "__main__":
    write(ROOT, MODELS, sys.argv[2:])
