"""What every driver shares: its arguments, and the models as functions of a batch of rows.

A driver is started as `python DRIVER.py --port P --model null|digits|tumor --file MODEL.onnx --dir DIR`,
with DIR an empty folder of its own, and serves that one model on 127.0.0.1:P until it is ended.
"""

import argparse
import os

import numpy as np

INPUTS = {"null": ("x", (784,)), "digits": ("image", (1, 8, 8)), "tumor": ("features", (30,))}
OUTPUTS = {"null": ("y", 10), "digits": ("probabilities", 10), "tumor": ("probabilities", 2)}
MAX_BATCH = 64
MAX_DELAY = 0.001  # seconds that a batch may wait to fill: a fifth of the goal of 5 ms


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--model", choices=INPUTS, required=True)
    p.add_argument("--file", default="")
    p.add_argument("--dir", required=True)
    return p.parse_args()


def processors():
    """How many processors this process may run on; a server that is pinned gets no more threads."""
    return len(os.sched_getaffinity(0))


def load(model, file):
    """Returns the function from float32 rows to float32 answers."""
    if model == "null":
        return lambda rows: np.ascontiguousarray(rows[:, :10])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = processors()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name, shape = INPUTS[model]
    outputs = [OUTPUTS[model][0]]
    return lambda rows: session.run(outputs, {name: rows.reshape((-1, *shape))})[0]
