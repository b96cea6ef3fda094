"""A thrum backend in Python: serve() is the whole main of one.

It speaks with the host as plugins/proto/plugin.proto says, on a Unix socket, and lives exactly
as long as its host. Arrays cross as numpy's; the host has checked every input against the
signature before it arrives here, and checks every answer.
"""

import base64
import concurrent.futures
import dataclasses
import datetime
import os
import signal
import stat
import sys
import tempfile
import threading
import traceback

import grpc
import numpy as np

import plugin_pb2 as wire  # made of plugin.proto by the install script

PROTOCOL_VERSION = 1  # of plugin.proto; the host's must be the same

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}


class Invalid(Exception):
    """The model, or the request, can never work as it is. The text says what to change."""


class Unsupported(Exception):
    """The model is fine, but this backend cannot serve it."""


@dataclasses.dataclass
class TensorSpec:
    """What a model takes or gives under one name; -1 is a dimension that varies."""

    name: str
    datatype: str
    shape: list


def serve(load, name, version, device):
    """Answers the host until it closes the plugin.

    load takes a LoadRequest (model, version, dir, options) and returns a model. A model has
    inputs and outputs, lists of TensorSpec whose first dimension is -1, the rows of a batch,
    and predict, which takes and returns arrays by name. It is called from several threads.
    """
    if os.environ.get("THRUM_PLUGIN") != "a backend to be started by its host":
        sys.exit("this is a plugin: put it on the plugin path of a thrum server, which starts it")
    live_as_long_as_the_host()
    backend = Backend(load, wire.InfoReply(name=name, version=version, device=device))
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(max_workers=16),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    server.add_generic_rpc_handlers(backend.handlers())
    folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp()
    socket = os.path.join(folder, "backend")
    certificate = listen(server, "unix:" + socket)
    server.start()
    print(f"1|{PROTOCOL_VERSION}|unix|{socket}|grpc|{certificate}", flush=True)
    backend.closed.wait()
    server.stop(grace=1).wait()


def live_as_long_as_the_host():
    """Ends this process when file descriptor 3, the host's pipe, ends, and never before."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not stat.S_ISFIFO(os.fstat(3).st_mode):
        sys.exit("file descriptor 3 is not the host's pipe: start this plugin from its host")
    os.set_inheritable(3, False)

    def wait():
        while os.read(3, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def listen(server, address):
    """Opens the socket, to the holder of PLUGIN_CLIENT_CERT alone if there is one, and
    returns the certificate for the host to expect."""
    host = os.environ.get("PLUGIN_CLIENT_CERT")
    if not host:
        server.add_insecure_port(address)
        return ""
    key, certificate, der = new_certificate()
    server.add_secure_port(address, grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=host.encode(), require_client_auth=True))
    return base64.b64encode(der).decode().rstrip("=")


def new_certificate():
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=10_000))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return (
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate.public_bytes(pem),
        certificate.public_bytes(serialization.Encoding.DER),
    )


class Backend:
    """The services of a plugin, answered by models."""

    def __init__(self, load, info):
        self.load_model, self.info_reply = load, info
        self.lock = threading.Lock()  # guards models and last
        self.models, self.last = {}, 0
        self.closed = threading.Event()

    def handlers(self):
        def call(method, request, reply):
            return grpc.unary_unary_rpc_method_handler(
                answering(method), request_deserializer=request.FromString, response_serializer=reply.SerializeToString)

        def raw(method):
            return grpc.unary_unary_rpc_method_handler(method)

        services = {
            "thrum.plugin.v1.Control": {
                "Info": call(self.info, wire.InfoRequest, wire.InfoReply),
                "Load": call(self.load, wire.LoadRequest, wire.LoadReply),
                "Unload": call(self.unload, wire.UnloadRequest, wire.UnloadReply),
            },
            "thrum.plugin.v1.Tensors": {"Predict": call(self.predict, wire.PredictRequest, wire.PredictReply)},
            # Messages that are empty, or one field: status SERVING.
            "plugin.GRPCController": {"Shutdown": raw(self.shutdown)},
            "grpc.health.v1.Health": {"Check": raw(lambda request, context: b"\x08\x01")},
        }
        return [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]

    def info(self, request):
        return self.info_reply

    def load(self, request):
        model = self.load_model(request)
        with self.lock:
            self.last += 1
            self.models[self.last] = model
            return wire.LoadReply(handle=self.last, signature=wire.Signature(
                platform=self.info_reply.name, batched=True,
                inputs=[tensor_spec(s) for s in model.inputs], outputs=[tensor_spec(s) for s in model.outputs]))

    def unload(self, request):
        with self.lock:
            self.models.pop(request.handle, None)
        return wire.UnloadReply()

    def predict(self, request):
        with self.lock:
            model = self.models[request.handle]
        answers = model.predict({t.name: array(t) for t in request.tensors})
        specs = {s.name: s for s in model.outputs}
        return wire.PredictReply(tensors=[tensor(specs[name], answers[name]) for name in request.outputs or specs])

    def shutdown(self, request, context):
        self.closed.set()
        return b""


def answering(method):
    """Gives an exception the code by which the host knows its kind."""

    def answer(request, context):
        try:
            return method(request)
        except Invalid as e:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e))
        except Unsupported as e:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, str(e))
        except Exception as e:
            traceback.print_exc()
            context.abort(grpc.StatusCode.INTERNAL, f"{type(e).__name__}: {e}")

    return answer


def tensor_spec(s):
    return wire.TensorSpec(name=s.name, datatype=s.datatype, shape=s.shape)


def array(t):
    if t.datatype not in DTYPES:
        raise Unsupported(f"input {t.name}: {t.datatype} has no type in numpy")
    return np.frombuffer(t.data, DTYPES[t.datatype]).reshape(t.shape)


def tensor(s, a):
    a = np.ascontiguousarray(a, DTYPES[s.datatype])
    return wire.Tensor(name=s.name, datatype=s.datatype, shape=a.shape, data=a.tobytes())
