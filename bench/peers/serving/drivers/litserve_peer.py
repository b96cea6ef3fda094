"""LitServe: batching on, the ZeroMQ transport between server and worker (fast_queue), one API server and
one worker for each processor."""

import numpy as np
import peer

import litserve


class Peer(litserve.LitAPI):
    def setup(self, device):
        self.compute = peer.load(ARGUMENTS.model, ARGUMENTS.file)

    def decode_request(self, request):
        return np.asarray(request["x"], dtype=np.float32)

    def batch(self, inputs):
        return np.concatenate(inputs)

    def predict(self, x):
        return self.compute(x)

    def unbatch(self, output):
        return list(output[:, None])

    def encode_response(self, output):
        return {"y": output.tolist()}


ARGUMENTS = peer.arguments()

if __name__ == "__main__":
    n = peer.processors()
    api = Peer(max_batch_size=peer.MAX_BATCH, batch_timeout=peer.MAX_DELAY)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=n, fast_queue=True, track_requests=False)
    server.run(host="127.0.0.1", port=ARGUMENTS.port, num_api_servers=n, log_level="warning", generate_client_file=False, access_log=False)
