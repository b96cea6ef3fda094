"""TorchServe: a handler of its own with ONNX Runtime, batches of up to 64 that wait 1 ms at most, one
worker for each processor, logs at warnings, metrics in no log."""

import os
import subprocess
import sys

import peer

HANDLER = '''
import json
import sys

sys.path.insert(0, {drivers!r})
import numpy as np
import peer


class Handler:
    """Answers bytes of float32 with bytes and {{"x": rows}} with rows."""

    def initialize(self, context):
        self.compute = peer.load({model!r}, {file!r})

    def handle(self, data, context):
        bodies = [d.get("body") or d.get("data") for d in data]
        rows = [np.frombuffer(b, np.float32).reshape(1, -1) if isinstance(b, (bytes, bytearray)) else np.asarray(b["x"], np.float32) for b in bodies]
        answer = self.compute(np.concatenate(rows))
        return [a.tobytes() if isinstance(b, (bytes, bytearray)) else [a.tolist()] for a, b in zip(answer, bodies)]
'''

a = peer.arguments()
os.chdir(a.dir)
os.makedirs("store")
with open("handler_file.py", "w") as f:
    f.write(HANDLER.format(drivers=os.path.dirname(os.path.abspath(__file__)), model=a.model, file=a.file))
with open("model.yaml", "w") as f:
    f.write(f"minWorkers: {peer.processors()}\nmaxWorkers: {peer.processors()}\nbatchSize: {peer.MAX_BATCH}\nmaxBatchDelay: 1\nresponseTimeout: 10\n")
with open("config.properties", "w") as f:
    f.write(f"inference_address=http://127.0.0.1:{a.port}\nmanagement_address=http://127.0.0.1:{a.port + 1}\nmetrics_address=http://127.0.0.1:{a.port + 2}\n"
            "grpc_inference_address=127.0.0.1\ngrpc_management_address=127.0.0.1\n"
            f"grpc_inference_port={a.port + 3}\ngrpc_management_port={a.port + 4}\nmodel_store=store\nload_models=all\n"
            "job_queue_size=1000\ndisable_token_authorization=true\ndisable_system_metrics=true\nenable_envvars_config=false\n")
with open("log4j2.xml", "w") as f:
    f.write('<?xml version="1.0"?><Configuration><Appenders><Console name="c"><PatternLayout/></Console></Appenders>'
            '<Loggers><Root level="warn"><AppenderRef ref="c"/></Root></Loggers></Configuration>')
bin = os.path.dirname(sys.executable)
os.environ["PATH"] = bin + ":" + os.environ["PATH"]
subprocess.run([os.path.join(bin, "torch-model-archiver"), "--model-name", a.model, "--version", "1", "--handler", "handler_file.py",
                "--config-file", "model.yaml", "--export-path", "store"], check=True)
os.execv(os.path.join(bin, "torchserve"), ["torchserve", "--start", "--foreground", "--ncs", "--ts-config", "config.properties",
                                           "--log-config", "log4j2.xml", "--model-store", "store"])
