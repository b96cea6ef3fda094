"""Checks that thrum answers real models as ONNX Runtime does.

    python check.py THRUM DIR [model ...]

DIR is what make.py and published.py made; THRUM is the binary. It is started on free ports of 127.0.0.1, asked
through HTTP, and ended. Every case goes as JSON, if its numbers can (NaN cannot), and as binary
tensors; the largest case of a model also row by row from eight clients at once, which the server
joins into batches. A floating-point output is held to 1e-4 + 1e-3 of the expected value, any
other output to equality. A quantised model, of quantized.py, says how well its rows have to agree
instead: the cosine of an output, and the share of rows that have the same largest value. Exits 1 if one is missed.
"""

import http.client
import json
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ABSOLUTE, RELATIVE = 1e-4, 1e-3
CLIENTS = 8
PATIENCE = 300  # seconds until the server is ready, and for one request
DATATYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32", "uint8": "UINT8", "int8": "INT8"}
DTYPES = {name: np.dtype(dtype) for dtype, name in DATATYPES.items()}


class Server:
    """thrum on two free ports, ended with the with block."""

    def __init__(self, binary, models):
        self.http, self.admin = free_port(), free_port()
        self.process = subprocess.Popen([
            binary, "serve", "--models", models, "--http", f"127.0.0.1:{self.http}",
            "--admin", f"127.0.0.1:{self.admin}", "--control", "none",
        ])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait(self):
        """Returns once every model is settled."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                sys.exit(f"thrum ended with status {self.process.returncode} before it was ready")
            try:
                if self.ask("GET", "/v2/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        sys.exit(f"thrum is not ready after {PATIENCE} s")

    def ask(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def infer(self, model, inputs, binary):
        """The outputs of a model by name."""
        request = {"parameters": {"timeout": PATIENCE * 1_000_000, "binary_data_output": binary}, "inputs": []}
        parts = []
        for name, array in inputs.items():
            tensor = {"name": name, "datatype": datatype(array), "shape": array.shape}
            if binary:
                parts.append(encoded(array))
                tensor["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                tensor["data"] = plain(array)
            request["inputs"].append(tensor)
        head = json.dumps(request).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))} if binary else {}
        status, headers, body = self.ask("POST", f"/v2/models/{model}/infer", head + b"".join(parts), headers)
        if status != 200:
            raise RuntimeError(f"{model}: status {status}: {body[:500].decode(errors='replace')}")
        return answer(body, int(headers.get("Inference-Header-Content-Length", len(body))))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def datatype(array):
    return "BYTES" if array.dtype.kind == "U" else DATATYPES[array.dtype.name]


def plain(array):
    """The elements as JSON takes them: a float32 in its shortest digits, not those of its float64."""
    if array.dtype == np.float32:
        return [float(text) for text in array.ravel().astype("U")]
    return array.ravel().tolist()


def encoded(array):
    """The elements as binary tensor data: little-endian, a BYTES element behind its length."""
    if array.dtype.kind != "U":
        return array.tobytes()
    texts = [text.encode() for text in array.ravel().tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def answer(body, head):
    outputs = {}
    for tensor in json.loads(body[:head])["outputs"]:
        shape, size = tensor["shape"], tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.array(tensor["data"], DTYPES.get(tensor["datatype"], "U"))
        else:
            values = decoded(body[head : head + size], tensor["datatype"])
            head += size
        outputs[tensor["name"]] = values.reshape(shape)
    return outputs


def decoded(data, kind):
    if kind != "BYTES":
        return np.frombuffer(data, DTYPES[kind])
    texts = []
    while data:
        (size,) = struct.unpack_from("<I", data)
        texts.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return np.array(texts, "U")


def row_by_row(server, model, inputs):
    """The outputs for all rows, each asked for by itself and several at once."""
    rows = len(next(iter(inputs.values())))
    with ThreadPoolExecutor(CLIENTS) as clients:
        one = lambda i: server.infer(model, {name: a[i : i + 1] for name, a in inputs.items()}, True)
        answers = list(clients.map(one, range(rows)))
    return {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}


class Comparison:
    """The largest differences between answers and what was expected of them."""

    def __init__(self, expected, agreement):
        self.expected, self.agreement = expected, agreement
        self.cosine, self.top = 1.0, 1.0
        self.absolute = self.relative = 0.0
        self.labels = None  # whether they were equal, if there are any
        self.held = True

    def add(self, outputs):
        for name, want in self.expected.items():
            got = outputs.get(name)
            if got is None or got.shape != want.shape or got.dtype.kind != want.dtype.kind:
                self.held = False
            elif want.dtype.kind == "f":
                self.numbers(got.astype(np.float64), want.astype(np.float64))
            else:
                self.labels = self.labels in (None, True) and bool((got == want).all())
                self.held &= self.labels
        self.held &= set(outputs) == set(self.expected)

    def numbers(self, got, want):
        difference = np.abs(got - want)
        self.absolute = max(self.absolute, difference.max(initial=0))
        large = np.abs(want) > 1e-3  # a relative difference of numbers near zero says nothing
        self.relative = max(self.relative, (difference[large] / np.abs(want[large])).max(initial=0))
        if self.agreement:
            self.rows(got.reshape(-1, got.shape[-1]), want.reshape(-1, want.shape[-1]))
        else:
            self.held &= bool((difference <= ABSOLUTE + RELATIVE * np.abs(want)).all())

    def rows(self, got, want):
        lengths = np.linalg.norm(got) * np.linalg.norm(want)
        self.cosine = min(self.cosine, (got * want).sum() / max(lengths, 1e-30))
        self.top = min(self.top, (got.argmax(1) == want.argmax(1)).mean())
        self.held &= bool(self.cosine >= self.agreement["cosine"] and self.top >= self.agreement["top"])


def cases_of(folder):
    """The inputs and the expected outputs of a model's cases."""
    cases = {}
    with np.load(folder / "reference.npz") as arrays:
        for key in arrays.files:
            case, way, name = key.rsplit("/", 2)
            cases.setdefault(case, {"in": {}, "out": {}})[way][name] = arrays[key]
    return cases


def rows_of(case):
    return len(next(iter(case["in"].values())))


def has_rows(case):
    """Whether every tensor has one entry per row, so that rows can be asked for one by one."""
    tensors = [*case["in"].values(), *case["out"].values()]
    return all(a.ndim > 0 and len(a) == rows_of(case) for a in tensors)


def agreement_of(folder):
    """How well a quantised model has to agree, None if it is not one."""
    path = folder / "agreement.json"
    return json.loads(path.read_text()) if path.exists() else None


def check(server, model, name, case, largest, agreement):
    """A line of the table, and whether every answer held."""
    finite = all(np.isfinite(a).all() for a in case["in"].values() if a.dtype.kind == "f")
    ways = {"json": lambda: server.infer(model, case["in"], False)} if finite else {}
    ways["binary"] = lambda: server.infer(model, case["in"], True)
    if largest and has_rows(case) and not (agreement or {}).get("together"):
        ways["row by row"] = lambda: row_by_row(server, model, case["in"])
    comparison = Comparison(case["out"], agreement)
    for ask in ways.values():
        try:
            comparison.add(ask())
        except (RuntimeError, OSError) as error:
            print(error, file=sys.stderr)
            comparison.held = False
    labels = {None: "-", True: "yes", False: "no"}[comparison.labels]
    outputs = ", ".join(f"{n} {list(a.shape)}" for n, a in case["out"].items())
    return [
        model, name, str(rows_of(case)), ", ".join(ways), outputs, f"{comparison.absolute:.1e}",
        f"{comparison.relative:.1e}", f"{comparison.cosine:.6f} {comparison.top:.3f}" if agreement else "-", labels, "held" if comparison.held else "MISSED",
    ], comparison.held


def print_table(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def main():
    binary, folder, wanted = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    lines = [["model", "case", "rows", "sent as", "outputs", "max abs", "max rel", "cosine, top", "labels equal", "result"]]
    held = True
    with Server(binary, str(folder)) as server:
        server.wait()
        for model in sorted(path.parent.name for path in folder.glob("*/reference.npz")):
            if wanted and model not in wanted:
                continue
            cases = cases_of(folder / model)
            largest = max(cases, key=lambda name: rows_of(cases[name]))
            for name, case in cases.items():
                line, ok = check(server, model, name, case, name == largest, agreement_of(folder / model))
                lines.append(line)
                held &= ok
    print_table(lines)
    if len(lines) == 1:
        sys.exit(f"no model in {folder}: make some with make.py or published.py")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
