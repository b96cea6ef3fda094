"""What ONNX Runtime answers, written where check.py finds it."""

import warnings

import numpy as np
import onnxruntime


def as_array(value):
    """ONNX Runtime answers a ZipMap with one dictionary a row; its values in order are the columns."""
    if isinstance(value, list):
        return np.array([list(row.values()) for row in value], np.float32)
    return value


def reference(path, cases):
    """What ONNX Runtime answers, case by case."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    arrays = {}
    for case, inputs in cases.items():
        for name, value in inputs.items():
            arrays[f"{case}/in/{name}"] = value
        for name, value in zip(outputs, session.run(None, inputs)):
            arrays[f"{case}/out/{name}"] = as_array(value)
    return {name: a.astype("U") if a.dtype == object else a for name, a in arrays.items()}


def rows(case):
    return len(next(iter(case.values())))


def write(root, models, wanted):
    """Makes the wanted models, all if there are none: functions that take a folder and return cases."""
    warnings.filterwarnings("ignore")
    for make in models:
        if wanted and make.__name__ not in wanted:
            continue
        folder = root / make.__name__ / "1"
        folder.mkdir(parents=True, exist_ok=True)
        cases = make(folder)
        if max(rows(case) for case in cases.values()) > 64:  # more than a batch has by default
            (root / make.__name__ / "model.yaml").write_text("batching: {max_rows: 512}\n")
        np.savez(root / make.__name__ / "reference.npz", **reference(folder / "model.onnx", cases))
        size = sum(file.stat().st_size for file in folder.glob("model.onnx*"))
        print(f"{make.__name__}: {size / 1e6:.2f} MB, {len(cases)} cases", flush=True)
