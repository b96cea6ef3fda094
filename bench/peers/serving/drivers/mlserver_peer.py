"""MLServer: a custom runtime, as its guide has it for what no runtime of its own covers.

parallel_workers 0: inference runs in the server's process. One model that takes microseconds gains
nothing from a second process, and pays for copying every request to it; MLServer's guide says so.
Adaptive batching is on (max_batch_size, max_batch_time). Metrics' own port and request logging are off.
"""

import json
import os
import sys

import peer

RUNTIME = '''
import sys

sys.path.insert(0, {drivers!r})
import numpy as np
import peer
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Runtime(MLModel):
    async def load(self):
        self.compute = peer.load({model!r}, {file!r})
        return True

    async def predict(self, payload):
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        answer = self.compute(rows)
        return InferenceResponse(model_name=self.name, model_version=self.version,
                                 outputs=[NumpyCodec.encode_output({output!r}, answer)])
'''

a = peer.arguments()
name, shape = peer.INPUTS[a.model]
drivers = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(a.dir, "runtime.py"), "w") as f:
    f.write(RUNTIME.format(drivers=drivers, model=a.model, file=a.file, output=peer.OUTPUTS[a.model][0]))
with open(os.path.join(a.dir, "settings.json"), "w") as f:
    json.dump({"host": "127.0.0.1", "http_port": a.port, "grpc_port": a.port + 1, "metrics_port": a.port + 2,
               "parallel_workers": 0, "debug": False, "use_structured_logging": False, "logging_settings": None}, f)
with open(os.path.join(a.dir, "model-settings.json"), "w") as f:
    json.dump({"name": a.model, "implementation": "runtime.Runtime", "max_batch_size": peer.MAX_BATCH, "max_batch_time": peer.MAX_DELAY,
               "parameters": {"version": "1"}}, f)
os.chdir(a.dir)
os.execv(os.path.join(os.path.dirname(sys.executable), "mlserver"), ["mlserver", "start", a.dir])
