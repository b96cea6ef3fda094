"""BentoML: a service with a batchable endpoint, which switches its adaptive batching on.

One worker process for each processor; access logs, metrics and tracing off, as a benchmark of its own
would have them.
"""

import os
import sys

import peer

SERVICE = '''
import sys

sys.path.insert(0, {drivers!r})
import bentoml
import numpy as np
import peer


@bentoml.service(workers={workers}, traffic={{"timeout": 10, "max_concurrency": 4096}}, logging={{"access": {{"enabled": False}}}}, metrics={{"enabled": False}})
class Peer:
    def __init__(self):
        self.compute = peer.load({model!r}, {file!r})

    @bentoml.api(route="/predict", batchable=True, batch_dim=0, max_batch_size={batch}, max_latency_ms=5)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.compute(x.astype(np.float32))
'''

a = peer.arguments()
drivers = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(a.dir, "service.py"), "w") as f:
    f.write(SERVICE.format(drivers=drivers, workers=peer.processors(), model=a.model, file=a.file, batch=peer.MAX_BATCH))
os.chdir(a.dir)
os.environ.update(BENTOML_DO_NOT_TRACK="True", BENTOML_HOME=os.path.join(a.dir, "home"))
os.execv(os.path.join(os.path.dirname(sys.executable), "bentoml"),
         ["bentoml", "serve", "service:Peer", "--host", "127.0.0.1", "--port", str(a.port), "--timeout", "10"])
