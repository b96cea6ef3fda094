"""Runs a model in another engine, for the Go program that starts this.

Each line of the standard input is a command, answered by a line, both JSON:

    load     engine, model (an ONNX file) or matmul, threads, precision, inputs: loads it, and runs it once
    time     seconds: runs it again and again
    outputs  folder: writes what it answers to the inputs

What a call from Python costs, measured with a model that only adds, is taken off the times: they are
those of a caller in C at worst. After a run nothing is said for a moment, so that threads that wait for
more by spinning have gone to sleep.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

REST = 0.03  # seconds
DTYPES = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32, "UINT8": np.uint8, "INT8": np.int8}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


def model_of(nodes, inputs, output, initializers=()):
    infos = [helper.make_tensor_value_info(*i) for i in inputs]
    graph = helper.make_graph(nodes, "peer", infos, [helper.make_tensor_value_info(*output)], initializers)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def adding():
    """A model that computes next to nothing."""
    return model_of([helper.make_node("Add", ["x", "x"], ["y"])], [("x", TensorProto.FLOAT, [1, 1])], ("y", TensorProto.FLOAT, [1, 1]))


def matmul(m, k, n, weights, integer):
    """A product with constant weights: of float32, or of uint8 with int8."""
    op, kinds = ("MatMulInteger", (TensorProto.UINT8, np.int8, TensorProto.INT32)) if integer else ("MatMul", (TensorProto.FLOAT, np.float32, TensorProto.FLOAT))
    w = onnx.numpy_helper.from_array(np.fromfile(weights, kinds[1]).reshape(k, n), "w")
    return model_of([helper.make_node(op, ["x", "w"], ["y"])], [("x", kinds[0], [m, k])], ("y", kinds[2], [m, n]), [w])


class OnnxRuntime:
    """All optimisations, shapes known beforehand, inputs and outputs bound once."""

    def __init__(self, model, threads, precision, inputs):
        import onnxruntime

        if precision != "fp32":
            raise ValueError(f"ONNX Runtime has no {precision} on this device")
        self.about = f"onnxruntime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        make = lambda: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.session = make()
        for given in self.session.get_inputs():
            for name, size in zip(given.shape, inputs[given.name].shape):
                if isinstance(name, str):
                    options.add_free_dimension_override_by_name(name, size)
        self.session = make()
        self.binding = self.session.io_binding()
        for name, array in inputs.items():
            self.binding.bind_cpu_input(name, array)
        self.names = [o.name for o in self.session.get_outputs()]
        for name in self.names:
            self.binding.bind_output(name, "cpu")

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def outputs(self):
        return dict(zip(self.names, self.binding.copy_outputs_to_cpu()))


class OpenVino:
    """One stream for least latency, shapes known beforehand, inputs shared; no thread is pinned, as none of thrum's is."""

    def __init__(self, model, threads, precision, inputs):
        import openvino

        core = openvino.Core()
        read = core.read_model(model)
        read.reshape({name: list(array.shape) for name, array in inputs.items()})
        compiled = core.compile_model(read, "CPU", {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        })
        used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.about = f"openvino {openvino.__version__.split('-')[0]}, {used}, {compiled.get_property('INFERENCE_NUM_THREADS')} threads"
        self.request = compiled.create_infer_request()
        self.arrays = inputs
        for name, array in inputs.items():
            self.request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

    def run(self):
        self.request.start_async()
        self.request.wait()

    def outputs(self):
        compiled = self.request.get_compiled_model().outputs
        return {o.get_any_name(): np.array(self.request.get_output_tensor(i).data) for i, o in enumerate(compiled)}


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def timed(run, seconds):
    began, used, runs = time.perf_counter(), time.process_time(), 0
    while runs == 0 or time.perf_counter() - began < seconds:
        run()
        runs += 1
    return runs, time.perf_counter() - began, time.process_time() - used


class Driver:
    def load(self, engine, threads, precision, inputs, model=None, product=None):
        self.engine = None  # frees the one before
        arrays = {i["name"]: np.fromfile(i["file"], DTYPES[i["datatype"]]).reshape(i["shape"]) for i in inputs}
        make = ENGINES[engine]
        one = np.zeros((1, 1), np.float32)
        empty = make(adding(), threads, "fp32", {"x": one})
        each = [timed(empty.run, 0.05) for _ in range(5)]
        self.cost = min(clock / runs for runs, clock, _ in each), min(cpu / runs for runs, _, cpu in each)
        self.engine = make(matmul(**product) if product else model, threads, precision, arrays)
        self.engine.run()
        return {"about": self.engine.about, "call": self.cost[0]}

    def time(self, seconds):
        runs, clock, cpu = timed(self.engine.run, seconds)
        time.sleep(REST)
        return {"runs": runs, "clock": clock - runs * self.cost[0], "cpu": cpu - runs * self.cost[1]}

    def outputs(self, folder):
        self.engine.run()
        described = []
        for i, (name, array) in enumerate(self.engine.outputs().items()):
            file = str(Path(folder) / f"output{i}")
            np.ascontiguousarray(array).tofile(file)
            described.append({"name": name, "datatype": NAMES[array.dtype], "shape": array.shape, "file": file})
        return {"outputs": described}


def main():
    driver = Driver()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(driver, command.pop("do"))(**command)
        except Exception as error:  # whatever fails in a foreign engine, the others still compare
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
