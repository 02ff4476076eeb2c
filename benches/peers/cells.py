"""The cells of the benchmark: a workload driven through a proxy, measured and checked."""

import http.client
import re
import secrets
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

from processes import HERE, Failed

BODY_BYTES = 512
REPLAY_KEYS = 256
REPLAY_PREFIX = secrets.token_hex(11)


@dataclass(frozen=True)
class Workload:
    name: str
    method: str
    keys: int  # 0: a new one for each request
    runs: bool  # whether the API runs for each request
    http2: bool = False  # by HTTP/2 with prior knowledge, driven by h2load


REPLAY = Workload("replay", "POST", REPLAY_KEYS, runs=False)
FIRST = Workload("first keyed", "POST", 0, runs=True)
PASS = Workload("pass through", "SEARCH", 0, runs=True)
REPLAY2 = Workload("replay, HTTP/2", "POST", 1, runs=False, http2=True)
PASS2 = Workload("pass through, HTTP/2", "SEARCH", 1, runs=True, http2=True)
PROXIES = ("oncegate", "floor", "nginx", "haproxy", "varnish")

# In the order in which they run: those that are compared are neighbours, and see the same weather.
CELLS = (
    (REPLAY, "varnish"),
    (REPLAY, "nginx"),
    (REPLAY, "oncegate"),
    (REPLAY, "floor"),
    (FIRST, "varnish"),
    (FIRST, "nginx"),
    (FIRST, "oncegate"),
    (PASS, "oncegate"),
    (PASS, "floor"),
    (PASS, "haproxy"),
    (PASS, "nginx"),
    (PASS, "varnish"),
    (REPLAY2, "nginx"),
    (REPLAY2, "oncegate"),
    (REPLAY2, "floor"),
    (PASS2, "oncegate"),
    (PASS2, "floor"),
    (PASS2, "nginx"),
)


@dataclass
class Figures:
    """What one run of a cell has shown."""

    cpu_us: float
    core: float  # share of one core that the proxy used
    rps: float
    p50_us: float
    p99_us: float


class Upstream:
    """The API's own view: how often it ran, and what it was sent."""

    def __init__(self, port):
        self.port = port

    def counts(self):
        """Executions and body bytes so far, once no straggler is on its way any more."""
        before = None
        while (now := self._read()) != before:
            before = now
            time.sleep(0.02)
        return now

    def executions(self):
        return self._read()[0]

    def _read(self):
        text = ask(self.port, "GET", "/count").body
        return tuple(int(number) for number in text.split())


@dataclass
class Answer:
    status: int
    headers: list
    body: bytes


def ask(port, method, path, key=None, body=None):
    """One request on a connection of its own, like those of load.lua."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json"} if body else {}
    if key:
        headers |= {"Authorization": "Bearer sk_test_4eC39HqLyjWDarjtT1zdp7dc"}
        headers |= {"Idempotency-Key": key}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def charge():
    """The body that load.lua sends."""
    start = b'{"amount":1200,"currency":"eur","source":"tok_visa","description":"'
    return start + b"x" * (BODY_BYTES - len(start) - 2) + b'"}'


def wrk(port, workload, seconds, connections, prefix, enough=None):
    """Drives a proxy, at the longest until `enough` says so; returns wrk's own figures by name."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "10", "-s", "load.lua"]
    argv += [f"http://127.0.0.1:{port}", "--", workload.method, prefix, workload.keys]
    process = subprocess.Popen(
        [str(part) for part in argv], cwd=HERE, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    try:
        while enough and process.poll() is None:
            if enough():
                process.send_signal(signal.SIGINT)  # it ends and tells its figures
                break
            time.sleep(0.02)
        output, _ = process.communicate(timeout=seconds + 30)
    finally:
        process.kill()
    result = re.search(r"^result (.*)$", output, re.MULTILINE)
    if not result:
        raise Failed(f"wrk: {output}")
    figures = {k: int(v) for k, v in (pair.split("=") for pair in result[1].split())}
    if figures["refused"] or figures["broken"] or not figures["requests"]:
        raise Failed("of {requests} requests {refused} were refused, {broken} broken"
                     .format(**figures))
    return figures


def h2load(port, workload, seconds, connections, prefix):
    """Drives a proxy by HTTP/2; returns h2load's figures under the names of wrk's.

    A quarter of the connections with ten streams each. h2load knows no percentiles: what stands
    for them are the mean and the longest.
    """
    clients = max(1, connections // 4)
    argv = ["h2load", "-t1", f"-c{clients}", "-m10", f"-D{seconds}", "-H", f":method: {workload.method}"]
    argv += ["-H", "content-type: application/json", "-H", f"idempotency-key: {prefix}-{1:012}"]
    argv += ["-H", "authorization: Bearer sk_test_4eC39HqLyjWDarjtT1zdp7dc"]
    with tempfile.NamedTemporaryFile() as body:
        body.write(charge())
        body.flush()
        argv += ["-d", body.name, f"http://127.0.0.1:{port}/v1/charges"]
        done = subprocess.run(
            argv, text=True, capture_output=True, timeout=seconds + 30, check=False)
    total = re.search(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed, (\d+) errored",
                      done.stdout)
    codes = re.search(r"status codes: (\d+) 2xx", done.stdout)
    times = re.search(r"time for request: +\S+ +(\S+) +(\S+)", done.stdout)
    if not (total and codes and times):
        raise Failed(f"h2load: {done.stdout}{done.stderr}")
    requests, failed, errored = int(total[2]), int(total[3]), int(total[4])
    if failed or errored or not requests or int(codes[1]) < requests:
        raise Failed(f"of {requests} requests {failed} failed, {errored} broken: {codes[0]}")
    return {"requests": requests, "duration": seconds * 1_000_000,
            "p50": microseconds(times[2]), "p99": microseconds(times[1])}


def microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1, "ms": 1000, "s": 1_000_000}[unit]


def new_prefix():
    return secrets.token_hex(11)


def check_counts(workload, requests, connections, before, after):
    """Holds wrk's count of answers against the API's count of executions."""
    executions, body_bytes = after[0] - before[0], after[1] - before[1]
    # The last ones are cut off by the end of the cell: ten streams a connection at the most.
    most = requests + 10 * connections
    if not workload.runs and executions:
        raise Failed(f"the API ran {executions} times for {requests} replays")
    if workload.runs and not requests <= executions <= most:
        raise Failed(f"the API ran {executions} times for {requests} requests")
    if body_bytes != executions * BODY_BYTES:
        raise Failed(f"{executions} executions saw {body_bytes} bytes of body")


def check_proxy(name, port, upstream):
    """Sends each kind of request twice, before anything is measured."""
    for workload in (REPLAY, PASS):
        if (workload, name) not in CELLS:
            continue
        before, key = upstream.counts()[0], new_prefix()
        body = b"x" * BODY_BYTES
        answers = [ask(port, workload.method, "/v1/charges", key, body) for _ in range(2)]
        ran = upstream.counts()[0] - before
        same = answers[0].body == answers[1].body
        # The floor makes its answers up.
        fine = ran == 2 and not same if workload.runs else ran == (name != "floor") and same
        if not fine or any(answer.status != 200 for answer in answers):
            raise Failed(f"{name}, {workload.method} twice: the API ran {ran} times, {answers}")


def run_cell(process, port, upstream, workload, options):
    """One cell: warm up, then measure, then check."""
    warm, prefix = new_prefix(), new_prefix()
    drive = h2load if workload.http2 else wrk
    port = process.http2_port if workload.http2 else port
    if not workload.runs:
        warm = prefix = REPLAY_PREFIX
    drive(port, workload, 1, options.connections, warm)

    before, cpu, clock = upstream.counts(), process.cpu_seconds(), time.monotonic()
    got = drive(port, workload, options.seconds, options.connections, prefix)
    cpu, clock = process.cpu_seconds() - cpu, time.monotonic() - clock
    check_counts(workload, got["requests"], options.connections, before, upstream.counts())
    return Figures(
        cpu_us=cpu * 1e6 / got["requests"],
        core=cpu / clock,
        rps=got["requests"] * 1e6 / got["duration"],
        p50_us=got["p50"],
        p99_us=got["p99"],
    )
