"""Makes gRPC calls as it is told, and says what came of each."""

import json
import pathlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

options = json.loads(sys.argv[1])
folder = pathlib.Path(options["folder"])


def channel():
    config = json.dumps(options["config"])
    more = [("grpc.service_config", config), ("grpc.use_local_subchannel_pool", 1)]
    if options["target"].startswith("unix:"):
        # The path, which is what it names otherwise, is no host to most servers.
        more.append(("grpc.default_authority", "localhost"))
    if not options["ca"]:
        return grpc.insecure_channel(options["target"], more)
    trusted = pathlib.Path(options["ca"]).read_bytes()
    return grpc.secure_channel(options["target"], grpc.ssl_channel_credentials(trusted), more)


def wait_for(name):
    """Waits until there is a file of this name."""
    while not (folder / name).exists():
        time.sleep(0.01)


def text(value):
    return value if isinstance(value, str) else value.decode("latin-1")


def pairs(metadata):
    return [[name, text(value)] for name, value in metadata or ()]


def told(call):
    """What came of a call that has ended."""
    code = call.code()
    return {
        "code": code.name,
        "details": call.details(),
        "message": text(call.result()) if code == grpc.StatusCode.OK else None,
        "first": pairs(call.initial_metadata()),
        "last": pairs(call.trailing_metadata()),
    }


def keyed(key):
    return (("idempotency-key", key),) if key else ()


def begin(over, call):
    """Begins a unary call: its request is JSON, and so many bytes after that."""
    request = json.dumps(call["ask"]).encode() + b"x" * call.get("pad", 0)
    method = over.unary_unary("/test.Service/Act")
    coding = grpc.Compression.Gzip if call.get("gzip") else None
    key, timeout = call.get("key"), call.get("timeout", 20)
    return method.future(request, timeout=timeout, metadata=keyed(key), compression=coding)


def ended(call):
    call.exception()
    return told(call)


def in_turn():
    with channel() as over:
        return [ended(begin(over, call)) for call in options["calls"]]


def at_once():
    """Makes the first call many times at once, over two connections."""
    [call], count = options["calls"], options["count"]
    ready = threading.Barrier(count)
    with channel() as one, channel() as other, ThreadPoolExecutor(count) as pool:

        def make(number):
            ready.wait()
            return ended(begin([one, other][number % 2], call))

        return list(pool.map(make, range(count)))


def many():
    """Makes as many different calls, ten at a time, and counts how they end."""
    counts = {}
    with channel() as over, ThreadPoolExecutor(10) as pool:
        names = [f"one-{number}" for number in range(options["count"])]
        calls = [{"key": name, "ask": {"name": name}} for name in names]
        for result in pool.map(lambda call: ended(begin(over, call)), calls):
            end = f"{result['code']} {result['details']}".strip()
            counts[end] = counts.get(end, 0) + 1
    return counts


def given_up():
    """Gives the first call up while the service works on it, and makes the others after that."""
    first, *others = options["calls"]
    with channel() as over:
        call = begin(over, first)
        wait_for(f"began-{first['ask']['name']}")
        if "timeout" not in first:
            call.cancel()
        code = call.code().name
        (folder / first["ask"]["gate"]).touch()
        return [code, [ended(begin(over, other)) for other in others]]


def streams():
    """Calls each kind of stream, and answers to each message before the next one is sent."""
    key, told = options["key"], {}
    with channel() as over:
        name, seen = f"count-{key}", []
        call = over.unary_stream("/test.Service/CountUp")
        call = call(name.encode(), timeout=20, metadata=keyed(key))
        for number in call:
            seen.append(number.decode())
            (folder / f"{name}-seen-{seen[-1]}").touch()
        told["count"] = seen
        if key:
            again = over.unary_stream("/test.Service/CountUp")
            told["again"] = refusal(again(name.encode(), timeout=20, metadata=keyed(key)))
        join = over.stream_unary("/test.Service/Join")
        words = iter([b"one", b"two", b"three"])
        told["join"] = join(words, timeout=20, metadata=keyed(key)).decode()
        told["chat"] = chat(over.stream_stream("/test.Service/Chat"), keyed(key))
    return told


def refusal(call):
    """How a stream was refused that had something to say."""
    try:
        return next(call).decode()
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details().split(':')[0]}"


def chat(method, metadata):
    heard = threading.Semaphore(1)

    def talk():
        for number in range(5):
            heard.acquire()
            yield b"%d" % number

    said = []
    for reply in method(talk(), timeout=20, metadata=metadata):
        said.append(reply.decode())
        heard.release()
    return said


print(json.dumps({
    "in turn": in_turn,
    "at once": at_once,
    "many": many,
    "given up": given_up,
    "streams": streams,
}[options["do"]]()))
