"""Compares thrum's trees with ONNX Runtime, XGBoost, LightGBM and tl2cgen, one thread each.

    python compare.py [--dir DIR] [--rounds 15] [--length 0.3] [--only NAME]

Builds the Go program beside it and the models, in DIR. thrum and a peer predict in turn, A B A B, each
from fresh rows, and a ratio is the median over the rounds of the peer's processor time for a row divided
by thrum's; the time on the clock stands beside. Predictions are compared in the same run. What a call
from Python costs ONNX Runtime, measured with a model that only adds, is taken off its time at batch 1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import onnxruntime
import xgboost
from onnx import TensorProto, helper

import models

ROWS = 50_000
HERE = Path(__file__).resolve().parent


class Thrum:
    """The Go program with a model."""

    def __init__(self, program, folder, rows):
        self.process = subprocess.Popen([program, folder, rows, str(models.COLUMNS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env={**os.environ, "GOMAXPROCS": "2"})

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command}: the program ended with {self.process.wait()}")
        return json.loads(line)

    def predict(self, file):
        self.ask(f"predict {file}")
        return np.fromfile(file, np.float32)

    def time(self, batch, seconds):
        t = self.ask(f"time {batch} {seconds}")
        return t["cpu"] / t["rows"] * 1e6, t["clock"] / t["rows"] * 1e6, t["cycles"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer:
    """Something that predicts rows; cost is what a call takes apart from the work, in microseconds."""

    def __init__(self, name, predict, cost=0.0):
        self.name, self.predict, self.cost = name, predict, cost
        self.at = 0

    def time(self, rows, batch, seconds):
        began, used, calls = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - began < seconds:
            if self.at + batch > len(rows):
                self.at = 0
            self.predict(rows[self.at : self.at + batch])
            self.at += batch
            calls += 1
        used, took = time.process_time() - used, time.perf_counter() - began
        return (used / calls * 1e6 - self.cost) / batch, (took / calls * 1e6 - self.cost) / batch


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def call_cost():
    """What a call of ONNX Runtime takes that computes next to nothing."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, models.COLUMNS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, models.COLUMNS])],
    )
    s = session(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    p = Peer("add", lambda rows: s.run(None, {"x": rows}))
    row = np.zeros((10, models.COLUMNS), np.float32)
    return min(p.time(row, 1, 0.2)[0] for _ in range(5))


def onnx_runtime(model):
    s = session(str(model))
    return Peer("ONNX Runtime", lambda rows: s.run(None, {"x": rows})[0], call_cost())


def native_xgboost(booster):
    booster.set_param({"nthread": 1})
    return Peer("XGBoost", lambda rows: booster.inplace_predict(rows))


def native_lightgbm(booster):
    return Peer("LightGBM", lambda rows: booster.predict(rows, num_threads=1))


def compiled(booster, folder):
    """The booster's trees as C, compiled; None where that does not work here."""
    try:
        import tl2cgen
        import treelite

        library = folder / "trees.so"
        if not library.exists():
            maker = treelite.frontend.from_xgboost if isinstance(booster, xgboost.Booster) else treelite.frontend.from_lightgbm
            model = maker(booster)
            print("tl2cgen compiles: a quarter of an hour for large models", file=sys.stderr)
            tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={"parallel_comp": 32})
        predictor = tl2cgen.Predictor(library, nthread=1)
        batches = {}

        def predict(rows):
            key = (rows.ctypes.data, len(rows))
            if key not in batches:  # what a matrix costs is not the trees' cost
                batches[key] = tl2cgen.DMatrix(rows, dtype="float32")
            return predictor.predict(batches[key])

        predict(np.zeros((1, models.COLUMNS), np.float32))
        return Peer("tl2cgen", predict)
    except Exception as e:  # whatever fails in a foreign tool chain, the others still compare
        print(f"tl2cgen does not build here: {str(e).splitlines()[-1][:150]}", file=sys.stderr)
        return None


# By peer and batch: the ratio that is to be reached.
TARGETS = {("ONNX Runtime", 1000): 8, ("ONNX Runtime", 1): 2, ("XGBoost", 1000): 4, ("tl2cgen", 1000): 1.5}

# By peer: how far predictions may differ, where not by 1e-6. These sum in float64.
TOLERANCE = {"LightGBM": 1e-4, "tl2cgen": 1e-4}


def cases(folder):
    """Yields names, and functions that return an ONNX file and functions that make peers of it."""
    for trees, depth in ((500, 6), (1000, 8)):
        for kind, train, native in (("xgboost", models.trained_xgboost, native_xgboost), ("lightgbm", models.trained_lightgbm, native_lightgbm)):
            name = f"{kind} {trees}x{depth}"
            yield name, lambda at=folder / name.replace(" ", "-"), train=train, native=native, t=trees, d=depth: trained(at, train, native, t, d)
        yield f"random {trees}x{depth}", lambda t=trees, d=depth: at_random(folder / f"random-{t}x{d}", t, d)


def trained(folder, train, native, trees, depth):
    folder.mkdir(parents=True, exist_ok=True)
    path, file = folder / "native.json", folder / "onnx" / "model.onnx"
    if not file.exists():
        booster = train(trees, depth, path)
    elif train is models.trained_xgboost:
        booster = xgboost.Booster(model_file=path)
    else:
        booster = lightgbm.Booster(model_file=path)
    return file, [lambda: onnx_runtime(file), lambda: native(booster), lambda: compiled(booster, folder)]


def at_random(folder, trees, depth):
    file = folder / "onnx" / "model.onnx"
    if not file.exists():
        models.random_trees(trees, depth, file)
    return file, [lambda: onnx_runtime(file)]


def compare(name, thrum, peer, rows, answers, options):
    mine = answers[: len(rows) // 1000 * 1000]
    theirs = np.concatenate([np.asarray(peer.predict(rows[i : i + 1000])).reshape(-1) for i in range(0, len(mine), 1000)])
    difference = float(np.max(np.abs(mine - theirs) / np.maximum(1, np.abs(theirs))))
    if not difference <= TOLERANCE.get(peer.name, 1e-6):
        raise SystemExit(f"{name}: thrum and {peer.name} differ by {difference}")
    for batch in (1000, 1):
        if peer.name == "tl2cgen" and batch == 1:
            continue  # its Python costs more than its trees
        if options.json and (peer.name, batch) not in TARGETS:
            continue
        own, other, ratios, cycles = [], [], [], []
        for _ in range(options.rounds):
            cpu, clock, cycle = thrum.time(batch, options.length)
            own.append((cpu, clock))
            other.append(peer.time(rows, batch, options.length))
            ratios.append(other[-1][0] / cpu)
            cycles.append(cycle)
        target = TARGETS.get((peer.name, batch))
        ratio = statistics.median(ratios)
        verdict = "" if target is None else "held" if ratio >= target else "missed"
        mid = lambda all, i: statistics.median(t[i] for t in all)
        if options.json:
            print(json.dumps({
                "what": name, "batch": batch, "peer": peer.name, "own": mid(own, 0), "other": mid(other, 0), "ratio": ratio,
                "least": min(ratios), "most": max(ratios), "target": target or 0, "differs": difference,
            }), flush=True)
            continue
        print(f"{name:16} {batch:5} {peer.name:13} {mid(own, 0):8.2f} {mid(other, 0):8.2f}  {mid(own, 1):8.2f} /{mid(other, 1):8.2f} "
              f"{ratio:7.2f}  {min(ratios):6.2f} -{max(ratios):7.2f} {target or '-':>6} {verdict:7} {difference:8.1e} {statistics.median(cycles):5.2f} "
              f"{os.getloadavg()[0]:5.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="where models are made, and kept for the next time")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--length", type=float, default=0.3, help="seconds of a part of a round")
    parser.add_argument("--only", default="", help="only models whose name holds this")
    parser.add_argument("--json", action="store_true", help="print what has a target only, as lines of JSON")
    options = parser.parse_args()
    folder = options.dir or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "trees"
    subprocess.run(["go", "build", "-o", program, "."], cwd=HERE, check=True)
    rows = models.data(ROWS, 2)[0]
    rows.tofile(folder / "rows")
    print(f"onnxruntime {onnxruntime.__version__}, xgboost {xgboost.__version__}, lightgbm {lightgbm.__version__}, "
          f"{options.rounds} rounds of {options.length} s, one thread, load average {os.getloadavg()}")
    print(f"{'model':16} {'batch':>5} {'peer':13} {'thrum':>8} {'peer':>8}  {'on the clock':>18} {'ratio':>7}  {'min - max':>15} "
          f"{'target':>6} {'':7} {'differs':>8} {'cal':>5} {'load':>5}   (microseconds a row; cal: cycles a ns)")
    for name, make in cases(folder):
        if options.only not in name:
            continue
        file, peers = make()
        thrum = Thrum(program, file.parent, folder / "rows")
        answers = thrum.predict(folder / "answers")
        for make_peer in peers:
            if peer := make_peer():
                compare(name, thrum, peer, rows, answers, options)
        thrum.close()


if __name__ == "__main__":
    main()
