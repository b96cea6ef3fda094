"""Writes reference.json: small cases of every ai.onnx.ml operator with ONNX Runtime's answers.

    pip install -r requirements.txt && python reference.py

A case is {"op", "opset", "attributes": {name: [kind, value]}, "inputs": [tensor], "outputs":
[tensor]} with tensors {"datatype", "shape", "data"}; null is NaN, infinities are "inf" and "-inf".
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

ML = "ai.onnx.ml"
DATATYPES = {
    "float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "int16": "INT16", "uint8": "UINT8",
    "object": "BYTES",
}
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
rng = np.random.default_rng(1)
cases = []


def tensor(a):
    a = np.asarray(a)
    kind = "object" if a.dtype.kind in "OUS" else a.dtype.name
    data = [str(v) if kind == "object" else number(v) for v in a.ravel()]
    return {"datatype": DATATYPES[kind], "shape": list(a.shape), "data": data}


def number(v):
    if not np.isfinite(v):
        return None if np.isnan(v) else str(v)
    return int(v) if v == int(v) else float(np.format_float_scientific(v, unique=True))


def attribute(value):
    if isinstance(value, np.ndarray):
        return ["tensor", tensor(value)]
    many = isinstance(value, list)
    kind = {int: "int", float: "float", str: "string"}[type(value[0] if many else value)]
    clean = lambda v: None if v != v else v
    return [kind + "s", [clean(v) for v in value]] if many else [kind, clean(value)]


def onnx_type(a):
    kind = "object" if a.dtype.kind in "OUS" else a.dtype.name
    return onnx.TensorProto.STRING if kind == "object" else helper.np_dtype_to_tensor_dtype(a.dtype)


def record(op, attributes, *inputs, outputs=("FLOAT",), opset=3):
    inputs = [np.asarray(a) for a in inputs]
    attributes = {k: v for k, v in attributes.items() if not (isinstance(v, list) and not v)}
    in_names, out_names = [f"x{i}" for i in range(len(inputs))], [f"y{i}" for i in range(len(outputs))]
    protos = {
        k: onnx.numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in attributes.items()
    }
    graph = helper.make_graph(
        [helper.make_node(op, in_names, out_names, domain=ML, **protos)], op,
        [helper.make_tensor_value_info(n, onnx_type(a), [None] * a.ndim) for n, a in zip(in_names, inputs)],
        [helper.make_tensor_value_info(n, getattr(onnx.TensorProto, t), None) for n, t in zip(out_names, outputs)],
    )
    model = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(ML, opset)]
    )
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        print(f"the reference lacks {op} {opset} of {[onnx_type(a) for a in inputs]} to {outputs}")
        return
    answers = session.run(None, dict(zip(in_names, inputs)))
    cases.append({
        "op": op, "opset": opset, "attributes": {k: attribute(v) for k, v in attributes.items()},
        "inputs": [tensor(a) for a in inputs], "outputs": [tensor(a) for a in answers],
    })


# Tree ensembles. Features and limits are multiples of a half, so that they are often equal.


def halves(*shape):
    return rng.integers(-4, 5, shape) / 2


def features(rows, dtype, nan):
    x = halves(rows, 3)
    if np.dtype(dtype).kind == "f" and nan:
        x[rng.random(x.shape) < 0.2] = np.nan
    return x.astype(dtype)


def grow(mode):
    """One random tree: lists of (mode, feature, value, true, false, missing) in the order of node ids."""
    nodes = []

    def node(depth):
        i = len(nodes)
        nodes.append(None)
        if depth == 0 or rng.random() < 0.2:
            nodes[i] = ("LEAF", 0, 0.0, 0, 0, 0)
            return i
        chosen = mode or str(rng.choice(MODES))
        yes, no = node(depth - 1), node(depth - 1)
        nodes[i] = (chosen, int(rng.integers(3)), float(halves()), yes, no, int(rng.random() < 0.5))
        return i

    node(3)
    return nodes


def ensemble(mode, classes, targets, missing, positive=False, every=True):
    """Attributes for a few trees whose leaves weigh in for some of classes."""
    a = {k: [] for k in (
        "nodes_treeids", "nodes_nodeids", "nodes_modes", "nodes_featureids", "nodes_values", "nodes_truenodeids",
        "nodes_falsenodeids", "nodes_missing_value_tracks_true", "treeids", "nodeids", "ids", "weights")}
    for tree in range(int(rng.integers(1, 4))):
        for i, (kind, feature, value, yes, no, track) in enumerate(grow(mode)):
            row = (tree, i, kind, feature, value, yes, no, track)
            for name, v in zip(list(a)[:8], row):
                a[name].append(v)
            if kind != "LEAF":
                continue
            for c in classes if every else [c for c in classes if rng.random() < 0.6] or classes[:1]:
                weight = float(rng.integers(1, 9)) / 32 if positive else float(rng.integers(-8, 9)) / 8
                for name, v in zip(list(a)[8:], (tree, i, c, weight)):
                    a[name].append(v)
    if not missing:
        del a["nodes_missing_value_tracks_true"]
    prefix = "class_" if targets is None else "target_"
    return {prefix + k if k in ("treeids", "nodeids", "ids", "weights") else k: v for k, v in a.items()}


def as_tensors(a, names):
    return {k + "_as_tensor" if k in names else k: np.array(v, np.float64) if k in names else v for k, v in a.items()}


def classifiers():
    labels = lambda n: {"classlabels_int64s": [10 * i for i in range(n)]}
    mode = lambda i: (MODES + [None])[i % 7]
    for i in range(14):  # one weighted class of two, in class 0 or 1, with and without base values
        a = ensemble(mode(i), [i % 2], None, i % 3 > 0, positive=i % 4 > 1)
        base = {"base_values": [[], [0.25], [0.25, -0.5]][i % 3]}
        transform = {"post_transform": TRANSFORMS[(0, 2, 1, 3)[i % 4]]}
        record("TreeEnsembleClassifier", a | labels(2) | base | transform, features(5, np.float32, True),
               outputs=("INT64", "FLOAT"))
    for i in range(8):  # one weighted class of two, every transform, with weights of one sign and of both
        a = ensemble(mode(i), [0], None, True, positive=i < 4)
        record("TreeEnsembleClassifier", a | labels(2) | {"post_transform": TRANSFORMS[i % 4]},
               features(5, np.float32, True), outputs=("INT64", "FLOAT"))
    for i in range(10):  # both classes weighted; labels 0 and 1, which is what the reference answers whatever they are
        a = ensemble(mode(i + 3), [0, 1], None, True, positive=i % 2 > 0)
        base = {"base_values": [[], [0.25, -0.5]][i % 2]}
        record("TreeEnsembleClassifier", a | {"classlabels_int64s": [0, 1]} | base | {"post_transform": TRANSFORMS[i % 4]},
               features(5, np.float32, True), outputs=("INT64", "FLOAT"))
    for i in range(14):  # three classes and four, some leaves silent about some
        n = 3 + i % 2
        a = ensemble(mode(i), list(range(n)), None, i % 2 > 0, every=i % 3 > 0)
        base = {"base_values": [0.5 * k for k in range(n)] if i % 2 else []}
        record("TreeEnsembleClassifier", a | labels(n) | base | {"post_transform": TRANSFORMS[i % 4]},
               features(5, np.float32, True), outputs=("INT64", "FLOAT"))
    for dtype in (np.float64, np.int64, np.int32):
        record("TreeEnsembleClassifier", ensemble(None, [0, 1, 2], None, True) | labels(3), features(5, dtype, True),
               outputs=("INT64", "FLOAT"))
    strings = {"classlabels_strings": ["ash", "beech", "cedar"]}
    record("TreeEnsembleClassifier", ensemble(None, [0, 1, 2], None, True) | strings, features(6, np.float32, False),
           outputs=("STRING", "FLOAT"))
    doubles = as_tensors(
        ensemble(None, [0, 1, 2], None, True) | {"base_values": [0.1, 0.2, 0.3]},
        {"nodes_values", "class_weights", "base_values"})
    record("TreeEnsembleClassifier", doubles | labels(3), features(5, np.float64, True), outputs=("INT64", "FLOAT"))
    record("TreeEnsembleClassifier", ensemble(None, [0], None, False) | labels(1) | {"base_values": [0.25]},
           features(1, np.float32, False), outputs=("INT64", "FLOAT"))
    cases[-1]["outputs"][0]["data"] = [0]  # the reference answers 0 or 1, whatever the only label is


def silent():
    """Classifiers of two classes with a base value, some of whose leaves speak of neither."""
    for i in range(8):
        a = ensemble(None, [i % 2], None, True, positive=i % 4 > 1)
        spoken = [k for k in range(len(a["class_ids"])) if rng.random() < 0.4] or [0]
        a |= {k: [v[n] for n in spoken] for k, v in a.items() if k.startswith("class_")}
        record("TreeEnsembleClassifier", a | {"classlabels_int64s": [0, 1], "base_values": [0.25], "post_transform": TRANSFORMS[(0, 2)[i // 4]]},
               features(6, np.float32, True), outputs=("INT64", "FLOAT"))


def regressors():
    for i in range(28):
        n = 1 + i % 3
        a = ensemble((MODES + [None])[i % 7], list(range(n)), n, i % 2 > 0, positive=True, every=i % 5 > 0 or n == 1)
        base = {"base_values": [0.05 * (k + 1) for k in range(n)] if i % 4 > 1 else []}
        kind = {"aggregate_function": ["SUM", "AVERAGE", "MIN", "MAX"][i % 4], "n_targets": n}
        transform = {"post_transform": TRANSFORMS[i // 4 % 5]}
        record("TreeEnsembleRegressor", a | base | kind | transform, features(5, np.float32, True))
    doubles = as_tensors(ensemble(None, [0], 1, True), {"nodes_values", "target_weights"})
    record("TreeEnsembleRegressor", doubles | {"n_targets": 1}, features(5, np.float64, True))


def ensembles():
    """TreeEnsemble of opset 5, which also knows membership of a set."""
    for i in range(16):
        dtype = (np.float32, np.float64)[i % 2]
        n = 1 + i % 3
        a = {k: [] for k in ("tree_roots", "nodes_featureids", "modes", "splits", "nodes_truenodeids",
                             "nodes_falsenodeids", "nodes_trueleafs", "nodes_falseleafs",
                             "nodes_missing_value_tracks_true", "members", "leaf_targetids", "weights")}

        def leaf():
            a["leaf_targetids"].append(int(rng.integers(n)))
            a["weights"].append(float(rng.integers(1, 9)) / 32)
            return len(a["weights"]) - 1, 1

        def node(depth):
            if depth == 0 or (depth < 3 and rng.random() < 0.2):
                return leaf()
            at = len(a["modes"])
            mode = int(rng.integers(7))
            for name, v in (("nodes_featureids", int(rng.integers(3))), ("modes", mode), ("splits", float(halves())),
                            ("nodes_truenodeids", 0), ("nodes_falsenodeids", 0), ("nodes_trueleafs", 0),
                            ("nodes_falseleafs", 0), ("nodes_missing_value_tracks_true", int(rng.random() < 0.5))):
                a[name].append(v)
            if mode == 6:
                a["members"] += [float(v) for v in rng.integers(-2, 3, int(rng.integers(1, 5)))] + [float("nan")]
            for ids, leafs in (("nodes_truenodeids", "nodes_trueleafs"), ("nodes_falsenodeids", "nodes_falseleafs")):
                a[ids][at], a[leafs][at] = node(depth - 1)
            return at, 0

        for _ in range(int(rng.integers(1, 4))):
            a["tree_roots"].append(node(3)[0])
        members = a.pop("members")
        a |= {"nodes_modes": np.array(a.pop("modes"), np.uint8), "nodes_splits": np.array(a.pop("splits"), dtype),
              "leaf_weights": np.array(a.pop("weights"), dtype), "n_targets": n,
              "aggregate_function": (1, 0, 2, 3)[i % 4], "post_transform": (0, 3, 0, 4)[i // 4]}
        if members:
            a["membership_values"] = np.array(members, dtype)
        x = features(5, dtype, True)  # whole numbers: the reference rounds before it asks for membership
        record("TreeEnsemble", a, np.round(x), outputs=(("FLOAT", "DOUBLE")[i % 2],), opset=5)


# Everything else.


def linear():
    x = halves(4, 3).astype(np.float32)
    for i, transform in enumerate(TRANSFORMS[:4]):
        w = {"coefficients": [float(v) for v in halves(9)], "intercepts": [0.25, -0.5, 0.0], "post_transform": transform}
        record("LinearClassifier", w | {"classlabels_ints": [5, 6, 7]}, x, outputs=("INT64", "FLOAT"))
        record("LinearRegressor", w | {"targets": 3}, x)
        two = {"coefficients": [float(v) for v in halves(6)], "intercepts": [0.25, -0.5], "post_transform": transform}
        record("LinearClassifier", two | {"classlabels_strings": ["no", "yes"], "multi_class": i % 2}, x, outputs=("STRING", "FLOAT"))
        one = {"coefficients": [0.5, -1.0, 0.25], "intercepts": [0.125], "post_transform": transform}
        record("LinearClassifier", one | {"classlabels_ints": [3, 4]}, x, outputs=("INT64", "FLOAT"))
        record("LinearRegressor", {"coefficients": [0.5, -1.0, 0.25], "post_transform": transform}, x)
    ones = {"coefficients": [0.125, 0.0625, 0.0625], "intercepts": [0.5], "post_transform": "PROBIT"}
    record("LinearRegressor", ones | {"targets": 1}, x / 4)
    for dtype in (np.float64, np.int32, np.int64):
        record("LinearClassifier", {"coefficients": [0.5, -1.0, 0.25], "intercepts": [0.125], "classlabels_ints": [3, 4]},
               x.astype(dtype), outputs=("INT64", "FLOAT"))


def rows():
    x = halves(4, 3)
    x[1] = 0
    for dtype in (np.float32, np.float64, np.int64, np.int32):
        for norm in ("MAX", "L1", "L2"):
            record("Normalizer", {"norm": norm}, x.astype(dtype))
        record("Scaler", {"offset": [0.5, -1.0, 0.25], "scale": [2.0, 0.1, -1.0]}, x.astype(dtype))
        record("Scaler", {"offset": [0.5], "scale": [0.3]}, x.astype(dtype))
    record("Normalizer", {"norm": "L2"}, x[0].astype(np.float32))
    record("Scaler", {"offset": [0.5, -1.0, 0.25], "scale": [2.0, 0.1, -1.0]}, x[0].astype(np.float32))
    record("Binarizer", {"threshold": 0.5}, x.astype(np.float32))
    record("Binarizer", {}, x.astype(np.float32))
    gaps = x.astype(np.float32)
    gaps[0, 1] = gaps[2, 2] = np.nan
    for values in ([1.5, 2.5, 3.5], [9.0]):
        record("Imputer", {"imputed_value_floats": values, "replaced_value_float": float("nan")}, gaps)
        record("Imputer", {"imputed_value_floats": values, "replaced_value_float": 0.0}, gaps)
    record("Imputer", {"imputed_value_int64s": [7, 8, 9], "replaced_value_int64": 0}, x.astype(np.int64), outputs=("INT64",))
    table = halves(2, 2, 4)
    for kind, values in (("FLOAT", table.astype(np.float32)), ("DOUBLE", table), ("INT64", table.astype(np.int64)),
                         ("INT32", table.astype(np.int32)), ("STRING", table.astype(str).astype(object))):
        record("ArrayFeatureExtractor", {}, values, np.array([[2, 0, 2]]), outputs=(kind,))
    record("ArrayFeatureExtractor", {}, table[0, 0].astype(np.float32), np.array([3, 1]))
    for dtype in (np.float32, np.float64, np.int64, np.int32):
        record("FeatureVectorizer", {"inputdimensions": [3, 2]}, x.astype(dtype), x[:, :2].astype(dtype))
    record("FeatureVectorizer", {"inputdimensions": [2, 4]}, x.astype(np.float32), x.astype(np.float32))


def encoders():
    words, numbers = np.array([["ash", "oak"], ["elm", "fir"]], object), np.array([[1, 2], [3, 9]], np.int64)
    keys = {"strings": ["ash", "elm", "oak"], "int64s": [1, 2, 3], "floats": [1.0, 2.0, float("nan")]}
    floats = np.array([[1, 2], [np.nan, 9]], np.float32)
    inputs = {"strings": words, "int64s": numbers, "floats": floats}
    values = {"strings": ["x", "y", "z"], "int64s": [7, 8, 9], "floats": [0.5, 1.5, 2.5]}
    default = {"strings": "none", "int64s": -7, "floats": -0.5}
    kinds = {"strings": "STRING", "int64s": "INT64", "floats": "FLOAT"}
    for k in keys:
        for v in values:
            for opset in (2, 4):
                a = {"keys_" + k: keys[k], "values_" + v: values[v], "default_" + v[:-1]: default[v]}
                if k == "floats" and opset == 2:
                    a["keys_floats"] = [1.0, 2.0, 3.0]
                record("LabelEncoder", a, inputs[k], outputs=(kinds[v],), opset=opset)
        record("LabelEncoder", {"keys_" + k: keys[k], "values_int64s": values["int64s"]}, inputs[k], outputs=("INT64",), opset=4)
    record("LabelEncoder", {"classes_strings": ["ash", "elm", "oak"], "default_int64": -3}, words, outputs=("INT64",), opset=1)
    record("LabelEncoder", {"classes_strings": ["ash", "elm", "oak"], "default_string": "none"}, numbers, outputs=("STRING",), opset=1)
    for key, value in ((np.float64, np.float64), (np.int16, np.int16)):
        a = {"keys_tensor": np.array([1, 2, 3], key), "values_tensor": np.array([7, 8, 9], value), "default_tensor": np.array([-1], value)}
        record("LabelEncoder", a, numbers.astype(key), outputs=({"float64": "DOUBLE", "int16": "INT16"}[np.dtype(value).name],), opset=4)
    a = {"keys_tensor": np.array(["ash", "oak"], object), "values_tensor": np.array([7, 8], np.int16), "default_tensor": np.array([-1], np.int16)}
    record("LabelEncoder", a, words, outputs=("INT16",), opset=4)
    record("CategoryMapper", {"cats_strings": ["ash", "oak"], "cats_int64s": [1, 2], "default_int64": -5}, words, outputs=("INT64",), opset=1)
    record("CategoryMapper", {"cats_strings": ["ash", "oak"], "cats_int64s": [1, 2], "default_string": "?"}, numbers, outputs=("STRING",), opset=1)
    record("OneHotEncoder", {"cats_strings": ["ash", "elm", "oak"], "zeros": 1}, words)
    record("OneHotEncoder", {"cats_int64s": [1, 2, 3, 9], "zeros": 0}, numbers)
    record("OneHotEncoder", {"cats_int64s": [1, 2]}, numbers[0])
    for dtype in (np.float32, np.float64):
        record("OneHotEncoder", {"cats_int64s": [1, 2, 3]}, numbers.astype(dtype) + dtype(0.25))


def vectors():
    x = halves(5, 3).astype(np.float32)
    kernels = {"LINEAR": [], "RBF": [0.3, 0.0, 0.0], "POLY": [0.3, 0.5, 3.0], "SIGMOID": [0.3, 0.1, 0.0]}
    for i, (kernel, params) in enumerate(kernels.items()):
        common = {"kernel_type": kernel, "kernel_params": params or [0.0, 0.0, 0.0]}
        record("SVMRegressor", common | {
            "support_vectors": [float(v) for v in halves(12)], "n_supports": 4, "coefficients": [0.5, -1.0, 0.25, 0.75],
            "rho": [0.125], "one_class": i % 2}, x)
        for classes in (2, 3):
            pairs = classes * (classes - 1) // 2
            for proba in (False, True):
                for transform in ("NONE", "LOGISTIC", "SOFTMAX")[: 1 if proba else 3]:
                    record("SVMClassifier", common | {
                        "support_vectors": [float(v) for v in halves(3 * (classes + 2))],
                        "vectors_per_class": [2, 2] + [1] * (classes - 2),
                        "coefficients": [float(v) / 4 for v in halves((classes - 1) * (classes + 2))],
                        "rho": [0.1 * (k + 1) for k in range(pairs)], "post_transform": transform,
                        "prob_a": [-1.0 - k / 4 for k in range(pairs)] if proba else [],
                        "prob_b": [0.1 * k for k in range(pairs)] if proba else [],
                        "classlabels_ints": [4, 5, 6][:classes]}, x, outputs=("INT64", "FLOAT"))
    record("SVMRegressor", {"coefficients": [0.5, -1.0, 0.25], "rho": [0.125], "kernel_params": [0.0, 0.0, 0.0]}, x)
    for classes in (2, 3):
        record("SVMClassifier", {
            "coefficients": [float(v) for v in halves(3 * classes)], "rho": [0.25], "kernel_params": [0.0, 0.0, 0.0],
            "classlabels_strings": ["a", "b", "c"][:classes]}, x, outputs=("STRING", "FLOAT"))


def main():
    onnxruntime.set_default_logger_severity(3)
    for write in (classifiers, regressors, ensembles, linear, rows, encoders, vectors, silent):
        write()
    lines = ",\n".join(json.dumps(c, separators=(",", ":"), allow_nan=False) for c in cases)
    text = f'{{"source": "onnxruntime {onnxruntime.__version__}", "cases": [\n{lines}\n]}}\n'
    Path(__file__).with_name("reference.json").write_text(text)
    print(f"{len(cases)} cases, {len(text)} bytes")


if __name__ == "__main__":
    main()
