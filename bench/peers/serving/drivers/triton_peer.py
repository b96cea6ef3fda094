"""Triton Inference Server, as the PyTriton package brings it: the server's own front, queue and dynamic
batcher, and the model as a function in a Python process of its own, reached through shared memory.

The dynamic batcher has no delay: it sends whatever waits as soon as the model is free, which Triton's
guide names as the setting to begin with. The package has no ONNX Runtime or other native backend, so the model's
process is Python's, with ONNX Runtime inside where there is a model.
"""

import numpy as np
import peer
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

if __name__ == "__main__":
    a = peer.arguments()
    compute = peer.load(a.model, a.file)
    name, shape = peer.INPUTS[a.model]
    output, width = peer.OUTPUTS[a.model]

    @batch
    def infer(**inputs):
        return {output: compute(inputs[name])}

    config = TritonConfig(http_address="127.0.0.1", http_port=a.port, grpc_address="127.0.0.1", grpc_port=a.port + 1,
                          metrics_address="127.0.0.1", metrics_port=a.port + 2, allow_metrics=False, log_verbose=0)
    with Triton(config=config, workspace=a.dir + "/workspace") as triton:
        triton.bind(model_name=a.model, infer_func=infer, inputs=[Tensor(name=name, dtype=np.float32, shape=shape)],
                    outputs=[Tensor(name=output, dtype=np.float32, shape=(width,))],
                    config=ModelConfig(batching=True, max_batch_size=peer.MAX_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0)))
        triton.serve()
