"""Writes a version folder of the bundled repository: the model and its golden set."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

MODELS = Path(__file__).resolve().parent.parent / "models"

DATATYPES = {"float32": "FP32", "int64": "INT64"}


def publish(name, model, doc, cases):
    """Writes models/<name>/1/model.onnx and golden.json, and returns a session on the model.

    cases is a list of (case name, {input name: array}); the expected outputs are what ONNX
    Runtime answers.
    """
    clean(model, name, doc)
    onnx.checker.check_model(model, full_check=True)
    folder = MODELS / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    data = model.SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(data)

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    lines = []
    for case, inputs in cases:
        answers = dict(zip(outputs, session.run(None, inputs)))
        lines.append(
            f'  {{"name": {json.dumps(case, ensure_ascii=False)},\n'
            f'   "inputs": [{tensors(inputs)}],\n'
            f'   "outputs": [{tensors(answers)}]}}'
        )
    (folder / "golden.json").write_text(
        f'{{"source": "onnxruntime {onnxruntime.__version__}",\n'
        f' "tolerance": {{"abs": 1e-4, "rel": 1e-3}},\n'
        f' "cases": [\n' + ",\n".join(lines) + "\n ]}\n"
    )
    print(f"{name}: model.onnx {len(data)} bytes, {len(cases)} golden cases")
    return session


def clean(model, name, doc):
    """Drops what an exporter leaves of this machine (source paths), and says what the model is."""
    model.doc_string = doc
    model.graph.name = name
    del model.metadata_props[:]
    del model.functions[:]
    graph = model.graph
    del graph.metadata_props[:]
    del graph.value_info[:]
    for part in [*graph.node, *graph.input, *graph.output, *graph.initializer]:
        part.doc_string = ""
        del part.metadata_props[:]


def tensors(arrays):
    """Open Inference Protocol tensors as JSON; floats in their shortest form that reads back equal."""
    return ",".join("\n    " + tensor(name, np.asarray(a)) for name, a in arrays.items())


def tensor(name, array):
    data = ", ".join(shortest(v) for v in array.ravel())
    return (
        f'{{"name": "{name}", "datatype": "{DATATYPES[array.dtype.name]}", '
        f'"shape": {list(array.shape)}, "data": [{data}]}}'
    )


def shortest(value):
    if isinstance(value, np.integer) or value == int(value):
        return str(int(value))
    return json.dumps(float(np.format_float_scientific(value, unique=True)))
