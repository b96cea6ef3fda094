"""MLPerf LoadGen's Server scenario against a server of the Open Inference Protocol.

    loadgen.py URL WIDTH --qps Q --limit-ms L --duration S [--find]

posts rows of WIDTH float32 to URL as binary tensors, over kept connections, each with a thread. With
--find LoadGen searches for the highest rate itself (FindPeakPerformance), from Q upwards; without, it
measures at Q. It prints one line of JSON. Latency is from the scheduled start, the goal is the 99th
percentile, arrivals are Poisson's: all by LoadGen's own rules.
"""

import argparse
import array
import json
import os
import queue
import re
import socket
import tempfile
import threading
import time
from urllib.parse import urlsplit

import mlperf_loadgen as lg
import numpy as np

ROWS = 16


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("url")
    p.add_argument("width", type=int)
    p.add_argument("--input", default="x")
    p.add_argument("--qps", type=float, required=True)
    p.add_argument("--limit-ms", type=float, required=True)
    p.add_argument("--duration", type=float, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--connections", type=int, default=64)
    p.add_argument("--find", action="store_true")
    return p.parse_args()


def request(url, name, row):
    head = json.dumps({"inputs": [{"name": name, "shape": [1, row.size], "datatype": "FP32", "parameters": {"binary_data_size": row.nbytes}}],
                       "parameters": {"binary_data_output": True}}, separators=(",", ":")).encode()
    lines = (f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/octet-stream\r\nCache-Control: no-store\r\n"
             f"Inference-Header-Content-Length: {len(head)}\r\nContent-Length: {len(head) + row.nbytes}\r\n\r\n")
    return lines.encode() + head + row.tobytes()


class Server:
    """What LoadGen calls the system under test: a queue, and threads that post what is in it."""

    def __init__(self, a):
        self.url = urlsplit(a.url)
        rng = np.random.default_rng(a.seed)
        self.requests = [request(self.url, a.input, rng.random(a.width, dtype=np.float32)) for _ in range(ROWS)]
        self.waiting = queue.SimpleQueue()
        self.failed, self.sent, self.most, self.under_way = 0, 0, 0, 0
        self.lock = threading.Lock()
        for _ in range(a.connections):
            threading.Thread(target=self.work, daemon=True).start()

    def issue(self, samples):
        for s in samples:
            self.waiting.put((s.id, s.index))

    def flush(self):
        pass

    def work(self):
        connection, answer = None, array.array("B", bytes(4))
        address, _ = answer.buffer_info()
        while True:
            identity, index = self.waiting.get()
            with self.lock:
                self.under_way += 1
                self.most = max(self.most, self.under_way)
            if connection is None:
                connection = socket.create_connection((self.url.hostname, self.url.port))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ok = self.post(connection, self.requests[index % ROWS])
            with self.lock:
                self.under_way -= 1
                self.sent += 1
                self.failed += not ok
            lg.QuerySamplesComplete([lg.QuerySampleResponse(identity, address, 4)])

    @staticmethod
    def post(connection, body):
        connection.sendall(body)
        data = bytearray()
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                raise ConnectionError("the server closed the connection")
            data += part
        head, _, rest = bytes(data).partition(b"\r\n\r\n")
        left = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head).group(1)) - len(rest)
        while left > 0:
            left -= len(connection.recv(left))
        return head.startswith(b"HTTP/1.1 200")


def main():
    a = arguments()
    server = Server(a)
    settings = lg.TestSettings()
    settings.scenario = lg.TestScenario.Server
    settings.mode = lg.TestMode.FindPeakPerformance if a.find else lg.TestMode.PerformanceOnly
    settings.server_target_qps = a.qps
    settings.server_target_latency_ns = int(a.limit_ms * 1e6)
    settings.server_target_latency_percentile = 0.99
    settings.server_find_peak_qps_decimals_of_precision = 0
    settings.server_find_peak_qps_boundary_step_size = 1
    settings.min_duration_ms = int(a.duration * 1000)
    settings.min_query_count = 1
    settings.qsl_rng_seed = settings.sample_index_rng_seed = settings.schedule_rng_seed = a.seed
    output = lg.LogOutputSettings()
    output.outdir = tempfile.mkdtemp(prefix="loadgen-")
    output.copy_summary_to_stdout = False
    log = lg.LogSettings()
    log.log_output = output
    log.enable_trace = False
    began, used = time.time(), time.process_time()
    sut = lg.ConstructSUT(server.issue, server.flush)
    qsl = lg.ConstructQSL(ROWS, ROWS, lambda _: None, lambda _: None)
    lg.StartTestWithLogSettings(sut, qsl, settings, log)
    took, used = time.time() - began, time.process_time() - used
    with open(os.path.join(output.outdir, "mlperf_log_summary.txt")) as f:
        summary = f.read()
    lg.DestroyQSL(qsl)
    lg.DestroySUT(sut)

    def figure(name):
        found = re.search(rf"^{re.escape(name)} *: *(\S+)", summary, re.M)
        return found.group(1) if found else None

    print(json.dumps({"scheduled": float(figure("Scheduled samples per second") or 0), "completed": float(figure("Completed samples per second") or 0),
                      "valid": figure("Result is") == "VALID", "p99_ns": int(figure("99.00 percentile latency (ns)") or 0),
                      "target": float(figure("target_qps") or 0), "requests": server.sent, "failed": server.failed, "most_under_way": server.most,
                      "seconds": took, "cores": used / took, "log": output.outdir}), flush=True)
    os._exit(0)  # threads wait for requests that will not come


main()
