"""A service that does as each request tells it, and says what it has executed. Says its port first."""

import json
import pathlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

options = json.loads(sys.argv[1])
folder = pathlib.Path(options["folder"])
executed = {}
lock = threading.Lock()


def say(line):
    """Says a line in one piece, whoever else says something."""
    sys.stdout.write(f"{line}\n")


def wait_for(gate):
    """Waits until there is a file of this name."""
    while not (folder / gate).exists():
        time.sleep(0.01)


def act(request, context):
    """Does one thing: what it is called, how it ends, and for what it waits."""
    asked = json.loads(request[:request.index(b"}") + 1])
    name = asked["name"]
    with lock:
        executed[name] = executed.get(name, 0) + 1
        count = executed[name]
    say(f"executed {name}")
    (folder / f"began-{name}").touch()
    if "gate" in asked:
        wait_for(asked["gate"])
    codes = asked.get("codes", [])
    code = codes[min(count, len(codes)) - 1] if codes else "OK"
    context.set_trailing_metadata((("x-count", str(count)), ("x-raw-bin", b"\x00\xff")))
    if code != "OK" and asked.get("bare"):
        context.abort(grpc.StatusCode[code], f"{name}: 100% \u00fcber\nit")
    context.send_initial_metadata((("x-first", name), ("x-twice", "1"), ("x-twice", "2")))
    if code != "OK":
        context.abort(grpc.StatusCode[code], f"{name}: 100% \u00fcber\nit")
    return f"{name} {count} ".encode() + b"\x00\xfe" * asked.get("size", 1)


def count_up(request, context):
    """Says one number after the other, each once the one before it was seen."""
    say("executed count")
    for number in range(3):
        yield str(number).encode()
        wait_for(f"{request.decode()}-seen-{number}")


def join(requests, context):
    say("executed join")
    return b" ".join(requests)


def chat(requests, context):
    say("executed chat")
    for request in requests:
        yield b"you said " + request


class Service(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/test.Service/Act": grpc.unary_unary_rpc_method_handler(act),
            "/test.Service/CountUp": grpc.unary_stream_rpc_method_handler(count_up),
            "/test.Service/Join": grpc.stream_unary_rpc_method_handler(join),
            "/test.Service/Chat": grpc.stream_stream_rpc_method_handler(chat),
        }.get(details.method)


sys.stdout.reconfigure(line_buffering=True)
server = grpc.server(
    ThreadPoolExecutor(max_workers=40),
    handlers=[Service()],
    compression=grpc.Compression.Gzip if options["gzip"] else None,
    options=[("grpc.max_receive_message_length", -1), *options["more"].items()],
)
if options["tls"]:
    certificate, key = (pathlib.Path(path).read_bytes() for path in options["tls"])
    shown = grpc.ssl_server_credentials([(key, certificate)])
    port = server.add_secure_port("127.0.0.1:0", shown)
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
say(f"listening {port}")
server.wait_for_termination()
