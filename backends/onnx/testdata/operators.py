"""Writes ../operators.txt, the schemas of the operators that the importer knows, and standard.txt,
the opsets at which the standard defines each of its operators anew.

Run with the PyPI package onnx 1.23.2:  python testdata/operators.py
"""
import re
from pathlib import Path

from onnx import defs

LAST = {"": 28, "ai.onnx.ml": 5}
FIRST = {"": 7, "ai.onnx.ml": 1}
KNOWN = {
    "": """
        Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool
        BatchNormalization BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast
        CastLike CausalConvWithState Ceil Celu CenterCropPad Clip Col2Im Compress Concat Constant
        ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv DepthToSpace
        DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten
        Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
        GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax
        Identity If InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual
        LinearAttention Log LogSoftmax Loop LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxUnpool
        Mean MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Neg NegativeLogLikelihoodLoss
        NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear
        RMSNormalization RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
        ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign
        RotaryEmbedding Round STFT Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin
        Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub
        Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unique
        Unsqueeze Upsample Where Xor
    """,
    "ai.onnx.ml": """
        ArrayFeatureExtractor Binarizer CategoryMapper FeatureVectorizer Imputer LabelEncoder LinearClassifier
        LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble
        TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
    """,
}
TYPES = {
    "bool": "bool", "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64", "int8": "i8", "int16": "i16",
    "int32": "i32", "int64": "i64", "float16": "f16", "float": "f32", "double": "f64", "bfloat16": "bf16", "string": "str",
}
ATTRS = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g",
         "FLOATS": "fs", "INTS": "is", "STRINGS": "ss", "TENSORS": "ts"}


def types(names):
    short = [TYPES[m[1]] for n in sorted(names) if (m := re.fullmatch(r"tensor\((\w+)\)", n)) and m[1] in TYPES]
    return "|".join(sorted(short, key=list(TYPES.values()).index))


def param(p, i, least, constraints):
    mark = ""
    if p.option == defs.OpSchema.FormalParameterOption.Variadic:
        mark = "?*" if i >= least else "*"
    elif p.option == defs.OpSchema.FormalParameterOption.Optional or i >= least:
        mark = "?"
    name = p.type_str
    m = re.fullmatch(r"tensor\((\w+)\)", name)
    name = TYPES[m[1]] if m else name if name in constraints else "other"
    if "*" in mark and not p.is_homogeneous:
        name = "any"
    return name + mark


def line(s):
    words = [s.domain or "ai.onnx", s.name, str(s.since_version)]
    if s.deprecated:
        return " ".join(words + ["removed"])
    constraints = {c.type_param_str: types(c.allowed_type_strs) for c in s.type_constraints}
    words += [param(p, i, s.min_input, constraints) for i, p in enumerate(s.inputs)] + ["->"]
    words += [param(p, i, s.min_output, constraints) for i, p in enumerate(s.outputs)]
    for a in sorted(s.attributes.values(), key=lambda a: a.name):
        kind = ATTRS.get(str(a.type).split(".")[-1])
        if kind:
            words.append(f"{a.name}{'!' if a.required else ''}={kind}")
    words += [f"{k}:{v}" for k, v in sorted(constraints.items()) if v]
    return " ".join(words)


def known():
    yield "# Written by testdata/operators.py from the published schemas; do not edit."
    yield "# domain op since inputs -> outputs attribute=kind constraint:types"
    yield "# ? may be left out, * any number of them, ! required, any: each of any type"
    for domain, names in KNOWN.items():
        for name in names.split():
            all_ = [s for s in defs.get_all_schemas_with_history() if s.domain == domain and s.name == name]
            assert all_, name
            all_.sort(key=lambda s: s.since_version)
            old = [s for s in all_ if s.since_version <= FIRST[domain]][-1:]
            last = None
            for s in old + [s for s in all_ if FIRST[domain] < s.since_version <= LAST[domain]]:
                words = line(s).split(" ")
                if words[3:] != last:
                    yield " ".join(words)
                last = words[3:]


def standard():
    yield "# Written by operators.py from the published schemas; do not edit."
    yield "# domain op opset..., the last with a minus if it removes the operator"
    for domain in KNOWN:
        all_ = [s for s in defs.get_all_schemas_with_history() if s.domain == domain and s.since_version <= LAST[domain]]
        for name in sorted({s.name for s in all_}):
            versions = sorted((s.since_version, s.deprecated) for s in all_ if s.name == name)
            yield " ".join([domain or "ai.onnx", name] + [("-" if gone else "") + str(since) for since, gone in versions])


here = Path(__file__).parent
(here.parent / "operators.txt").write_text("\n".join(known()) + "\n")
(here / "standard.txt").write_text("\n".join(standard()) + "\n")
