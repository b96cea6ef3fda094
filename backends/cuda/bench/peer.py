"""Runs the models of the program that starts this in PyTorch: the same weights, compiled, in a CUDA graph.

Each line of the standard input is a command, answered by a line, both JSON:

    load     folder, inputs (files), precision, mode, times: builds the model of a folder, compiles it for those inputs, captures
             so many runs of it
    product  size: a matrix product in bf16 of that size, to be timed
    time     how (device: from its memory to its memory; memory: of the host, pinned), seconds: runs it again and again
    output   file: writes what it answers to the inputs, as FP32

python3 peer.py [--device cpu] [--eager]: without a device to try this file itself; eager compiles nothing.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import time

import torch
from torch.nn import functional as F

DTYPES = {"FP32": torch.float32, "INT64": torch.int64, "FP16": torch.float16, "BF16": torch.bfloat16}
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Weights:
    """The tensors of a folder, on the device, in a precision."""

    def __init__(self, folder, inventory, device, dtype):
        self.where = {w["name"]: w for w in inventory["weights"]}
        size = (pathlib.Path(folder) / "weights").stat().st_size // 4
        self.data = torch.from_file(str(pathlib.Path(folder) / "weights"), size=size, dtype=torch.float32)
        self.device, self.dtype = device, dtype

    def __call__(self, name):
        w = self.where[name]
        n, at = 1, w["offset"] // 4
        for d in w["shape"]:
            n *= d
        return self.data[at : at + n].view(w["shape"]).to(self.device, self.dtype)

    def layer(self, name):
        """A matrix as F.linear takes it, and its bias."""
        return self(name + ".weight").t().contiguous(), self(name + ".bias")

    def pair(self, name):
        return self(name + ".weight"), self(name + ".bias")


def encoder(w, form):
    heads, width = form["Heads"], form["Width"]
    words, places, norm, pooled = w("words"), w("places"), w.pair("norm"), w.layer("pooled")
    layers = []
    for i in range(form["Layers"]):
        three = [w.layer(f"layers.{i}.{part}") for part in "qkv"]
        joined = torch.cat([m for m, _ in three]), torch.cat([b for _, b in three])
        layers.append((joined, *(w.layer(f"layers.{i}.{p}") for p in ("o", "inner", "outer")), *(w.pair(f"layers.{i}.{p}") for p in ("norm1", "norm2"))))

    def run(ids):
        x = F.layer_norm(F.embedding(ids, words) + places, (width,), *norm)
        for joined, o, inner, outer, norm1, norm2 in layers:
            q, k, v = F.linear(x, *joined).unflatten(-1, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = F.layer_norm(F.linear(y, *o) + x, (width,), *norm1)
            x = F.layer_norm(F.linear(F.gelu(F.linear(x, *inner)), *outer) + x, (width,), *norm2)
        return torch.tanh(F.linear(x[:, 0], *pooled))

    return run


def network(w, form):
    def conv(name, stride=1):
        weight, bias = w.pair(name)
        size = weight.shape[-1]
        weight = weight.contiguous(memory_format=torch.channels_last)
        return lambda x: F.conv2d(x, weight, bias, stride, size // 2)

    def bottleneck(name, stride, widens):
        a, b, c = conv(name + ".a"), conv(name + ".b", stride), conv(name + ".c")
        skip = conv(name + ".skip", stride) if widens else lambda x: x
        return lambda x: F.relu(c(F.relu(b(F.relu(a(x))))) + skip(x))

    dtype = w.dtype
    stem, classes, blocks = conv("stem", 2), w.layer("classes"), []
    for s, n in enumerate(form["Stages"]):
        blocks += [bottleneck(f"stages.{s}.{b}", 2 if s > 0 and b == 0 else 1, b == 0) for b in range(n)]

    def run(x):
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(F.relu(stem(x)), 3, 2, 1)
        for block in blocks:
            x = block(x)
        return F.linear(x.mean((2, 3)), *classes)

    return run


def merged(w, form):
    """All tables as one, and where each begins in it: one lookup is faster than many."""
    begins, at = [], 0
    for rows in form["Tables"]:
        begins.append(at)
        at += rows
    return torch.cat([w(f"tables.{i}") for i in range(len(begins))]), torch.tensor(begins, device=w.device)


def recommender(w, form):
    table, begins = merged(w, form)
    below = [w.layer(f"below.{i}") for i in range(len(form["Below"] or []) + 1)]
    above = [w.layer(f"above.{i}") for i in range(len(form["Above"] or []))]
    last = w.layer("last")
    n, dtype = len(form["Tables"]) + 1, w.dtype
    pairs = [i * n + j for i in range(n) for j in range(i)]
    pairs += pairs[:1] * (-len(pairs) % 8)
    pairs = torch.tensor(pairs, device=w.device)

    def run(dense, sparse):
        x = dense.to(dtype)
        for layer in below:
            x = F.relu(F.linear(x, *layer))
        features = torch.cat([x.unsqueeze(1), F.embedding(sparse + begins, table)], 1)
        y = torch.cat([x, torch.bmm(features, features.transpose(1, 2)).flatten(1)[:, pairs]], 1)
        for layer in above:
            y = F.relu(F.linear(y, *layer))
        return torch.sigmoid(F.linear(y, *last))

    return run


def lookup(w, form):
    table, begins = merged(w, form)
    return lambda sparse: F.embedding(sparse + begins, table).flatten(1)


def rows(w, form):
    table = w("table")
    return lambda sparse: F.embedding(sparse, table)


MODELS = {"encoder": encoder, "network": network, "recommender": recommender, "lookup": lookup, "rows": rows}


class Peer:
    def __init__(self, device, eager):
        self.device, self.eager = device, eager
        self.cuda = device == "cuda"
        if self.cuda and not torch.cuda.is_available():
            sys.exit("torch sees no device")

    def hello(self):
        return {"about": f"torch {torch.__version__}"}

    def load(self, folder, inputs, precision, mode, times):
        self.replay = None  # frees what was there
        inventory = json.loads((pathlib.Path(folder) / "weights.json").read_text())
        weights = Weights(folder, inventory, self.device, PRECISIONS[precision])
        model = MODELS[inventory["kind"]](weights, inventory["form"])
        self.host = [torch.from_file(i["file"], size=pathlib.Path(i["file"]).stat().st_size // DTYPES[i["datatype"]].itemsize, dtype=DTYPES[i["datatype"]]).view(i["shape"]) for i in inputs]
        if self.cuda:
            self.host = [t.pin_memory() for t in self.host]
        self.inputs = [t.to(self.device, copy=True) for t in self.host]
        if not self.eager:
            torch._dynamo.reset()
            model = torch.compile(model, fullgraph=True, dynamic=False, mode=None if mode == "default" else mode)
        return {"about": self.capture(model, times)}

    def capture(self, model, times=1):
        """Has self.replay compute self.out of self.inputs, so many times."""
        self.times = times

        def run():
            for _ in range(times):
                self.out = model(*self.inputs)

        for _ in range(3):
            run()
        self.replay, about = run, "without a graph"
        if self.cuda:
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                run()
            self.replay, about = graph.replay, "in a CUDA graph"
            self.replay()
            torch.cuda.synchronize()
        self.answer = torch.empty(self.out.shape, dtype=self.out.dtype, pin_memory=self.cuda)
        return about

    def product(self, size):
        a, b = (torch.randn(size, size, device=self.device).bfloat16() for _ in range(2))
        self.inputs, self.host = [a, b], []
        return {"about": self.capture(torch.matmul)}

    def time(self, how, seconds):
        return (self.on_device if how == "device" and self.cuda else self.from_memory)(seconds)

    def on_device(self, seconds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began, runs, clock, n = time.perf_counter(), 0, 0.0, 1
        while runs == 0 or time.perf_counter() - began < seconds:
            begin.record()
            for _ in range(n):
                self.replay()
            end.record()
            end.synchronize()
            took = begin.elapsed_time(end) / 1e3
            clock, runs = clock + took, runs + n * self.times
            n = max(1, min(1000, int(0.02 * n / max(took, 1e-6))))
        return {"runs": runs, "clock": clock}

    def from_memory(self, seconds):
        began, runs = time.perf_counter(), 0
        while runs == 0 or time.perf_counter() - began < seconds:
            for to, mem in zip(self.inputs, self.host):
                to.copy_(mem, non_blocking=True)
            self.replay()
            self.answer.copy_(self.out, non_blocking=True)
            if self.cuda:
                torch.cuda.current_stream().synchronize()
            runs += self.times
        return {"runs": runs, "clock": time.perf_counter() - began}

    def output(self, file):
        self.replay()
        values = self.out.float().cpu().contiguous()
        values.numpy().tofile(file)
        return {"shape": list(values.shape)}


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--device", default="cuda")
    parse.add_argument("--eager", action="store_true")
    arguments = parse.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what compilers say is no answer
    with contextlib.suppress(AttributeError):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True  # the fastest of its algorithms, not the likeliest
    peer = Peer(arguments.device, arguments.eager)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            with torch.inference_mode():
                answer = getattr(peer, command.pop("do"))(**command)
        except Exception as error:  # what fails here, the other rows can do without
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
