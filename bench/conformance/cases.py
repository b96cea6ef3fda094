"""Writes the node cases of the onnx package into one file that a Go test reads.

    pip install -r requirements.txt
    python cases.py all.jsonl.gz
    python cases.py small.jsonl.gz passed.txt

The cases are those that the package's own collector makes, which its command for writing test
data calls too. Each line is a case: name, group, whether it counts, model file (base64), inputs
and expected outputs with the datatypes and layout of the Open Inference Protocol. A case with a
value that is no tensor, or of a type that the protocol lacks, has no inputs: its model must be
refused. With a list of names, only cases of that list that are small are kept.
"""

import base64
import gzip
import json
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
from onnx import TensorProto, defs, numpy_helper
from onnx.backend.test.case import node

DATATYPES = {
    "FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT16": "FP16", "BFLOAT16": "BF16", "BOOL": "BOOL", "STRING": "BYTES",
    "INT8": "INT8", "INT16": "INT16", "INT32": "INT32", "INT64": "INT64",
    "UINT8": "UINT8", "UINT16": "UINT16", "UINT32": "UINT32", "UINT64": "UINT64",
}
MAX_BYTES = 4000  # of a small case, compressed


def datatype(kind):
    return DATATYPES.get(TensorProto.DataType.Name(kind))


def tensor(value, content):
    if not isinstance(content, TensorProto):
        content = numpy_helper.from_array(np.asarray(content), value.name)
    a = numpy_helper.to_array(content)
    if content.data_type == TensorProto.STRING:
        rows = [s if isinstance(s, bytes) else str(s).encode() for s in a.astype(object).flatten()]
        data = b"".join(struct.pack("<I", len(s)) + s for s in rows)
    else:
        data = np.ascontiguousarray(a).tobytes()
    return {
        "name": value.name, "datatype": datatype(content.data_type), "shape": list(a.shape),
        "data": base64.b64encode(data).decode(),
    }


def nodes(graph):
    for n in graph.node:
        yield n
        for a in n.attribute:
            yield from nodes(a.g)


def kinds(values):
    """The element types of tensors, None for values that are no tensors."""
    return [v.type.tensor_type.elem_type if v.type.HasField("tensor_type") else None for v in values]


def place(case, values):
    """The group of a case, and whether it counts: training, sequences and strings do not."""
    every = list(nodes(case.model.graph))
    domains = {o.domain for o in case.model.opset_import}
    training = any(a.name == "training_mode" and a.i for n in every for a in n.attribute)
    if training or "ai.onnx.preview.training" in domains or "training" in case.name:
        return "training", False
    if None in kinds(values) or any("Sequence" in n.op_type or "Optional" in n.op_type for n in every if n.op_type != "ReverseSequence"):
        return "sequences, optionals", False
    if TensorProto.STRING in kinds(values):
        return "strings", False
    if not all(datatype(k) for k in kinds(values)):
        return "types that the protocol lacks", True
    if "_expanded" in case.name:
        return "functions, expanded", True
    first = every[0]
    return "ai.onnx, " + Path(defs.get_schema(first.op_type, first.domain).file).parent.name if not first.domain else first.domain, True


def line(case):
    graph = case.model.graph
    values = list(graph.input) + list(graph.output)
    group, counts = place(case, values)
    out = {"name": case.name, "group": group, "counts": counts, "model": base64.b64encode(case.model.SerializeToString()).decode()}
    if all(k is not None and datatype(k) for k in kinds(values)):
        given, wanted = case.data_sets[0]
        out["inputs"] = [tensor(v, a) for v, a in zip(graph.input, given)]
        out["outputs"] = [tensor(v, a) for v, a in zip(graph.output, wanted)]
    return json.dumps(out, separators=(",", ":")).encode() + b"\n"


def is_small(data):
    return len(gzip.compress(data)) < MAX_BYTES


def main(out, passed=None):
    warnings.filterwarnings("ignore")
    names = set(Path(passed).read_text().split()) if passed else None
    with open(out, "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=9, mtime=0) as f:
        for case in sorted(node.collect_testcases(None), key=lambda c: c.name):
            if names is not None and (case.name not in names or "_expanded" in case.name):
                continue
            data = line(case)
            if names is None or is_small(data):
                f.write(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
