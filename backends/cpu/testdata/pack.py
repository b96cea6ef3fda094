"""Packs ONNX backend test cases into one file that a Go test reads.

    pip install onnx==1.19.0
    python pack.py all.jsonl.gz
    go test ./backends/cpu -run Conformance -v -cases $PWD/all.jsonl.gz |
        sed -n 's|.*--- PASS: TestConformance/||p' | cut -d' ' -f1 > passed.txt
    python pack.py cases.jsonl.gz passed.txt

Each line is a case: name, model file (base64), inputs and expected outputs with the datatypes
and layout of the Open Inference Protocol. A case with a value that is no tensor, or of a type
that the protocol lacks, has no inputs: its model must be refused. With a list of names, only
cases of that list that are small are kept.
"""

import base64, gzip, json, os, re, struct, sys

import numpy as np
import onnx
from onnx import numpy_helper

NAMES = {"bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
         "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16",
         "float32": "FP32", "float64": "FP64", "bfloat16": "BF16", "object": "BYTES"}
MAX_BYTES = 4000  # of a small case, compressed


def tensor(name, path):
    proto = onnx.TensorProto()
    with open(path, "rb") as f:
        proto.ParseFromString(f.read())
    a = numpy_helper.to_array(proto)
    if a.dtype.kind in "SU":
        a = a.astype(object)
    if a.dtype.name not in NAMES:
        raise ValueError(a.dtype.name)
    if a.dtype == object:
        rows = [s if isinstance(s, bytes) else s.encode() for s in a.flatten()]
        data = b"".join(struct.pack("<I", len(s)) + s for s in rows)
    else:
        data = np.ascontiguousarray(a).tobytes()
    return {"name": name, "datatype": NAMES[a.dtype.name], "shape": list(a.shape), "data": base64.b64encode(data).decode()}


def numbered(folder, kind):
    files = [f for f in os.listdir(folder) if f.startswith(kind + "_")]
    return [os.path.join(folder, f) for f in sorted(files, key=lambda f: int(re.findall(r"\d+", f)[0]))]


def case(folder):
    with open(os.path.join(folder, "model.onnx"), "rb") as f:
        data = f.read()
    model = onnx.load_from_string(data)
    c = {"name": os.path.basename(folder), "model": base64.b64encode(data).decode()}
    values = list(model.graph.input), list(model.graph.output)
    if not all(v.type.HasField("tensor_type") for v in values[0] + values[1]):
        return c
    given = os.path.join(folder, "test_data_set_0")
    try:
        c["inputs"] = [tensor(v.name, p) for v, p in zip(values[0], numbered(given, "input"))]
        c["outputs"] = [tensor(v.name, p) for v, p in zip(values[1], numbered(given, "output"))]
    except ValueError:
        c.pop("inputs", None)
    return c


def small(c):
    return len(gzip.compress(json.dumps(c).encode())) < MAX_BYTES


def main(out, passed=None):
    names = None
    if passed:
        with open(passed) as f:
            names = set(f.read().split())
    root = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    with open(out, "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=9, mtime=0) as f:
        for kind in ["node", "simple"]:
            for name in sorted(os.listdir(os.path.join(root, kind))):
                if names is not None and name not in names:
                    continue
                c = case(os.path.join(root, kind, name))
                if names is None or small(c):
                    f.write(json.dumps(c, separators=(",", ":")).encode() + b"\n")


main(*sys.argv[1:])
