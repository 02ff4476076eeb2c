"""Starts programs, learns when they are ready, reads what they use, and ends them by their pid."""

import getpass
import grp
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 20.0


class Failed(Exception):
    """Something that makes a measurement worthless."""


class Process:
    """A running program with a directory of its own, its output in the file `log` there."""

    def __init__(self, name, argv, directory):
        self.name = name
        self.log = directory / "log"
        self.started = time.monotonic()
        with open(self.log, "wb") as log:
            # A session of its own: Ctrl-C reaches this script alone, which then ends them in order.
            self.popen = subprocess.Popen(
                [str(part) for part in argv], cwd=directory, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )

    def await_line(self, pattern):
        """Waits for a line of output; returns its match and the seconds since the start."""
        while True:
            match = re.search(pattern, self.log.read_text(errors="replace"))
            if match:
                return match, time.monotonic() - self.started
            self._still_starting()
            time.sleep(0.0005)

    def await_port(self, port):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                self._still_starting()
                time.sleep(0.01)

    def _still_starting(self):
        ended = self.popen.poll()
        if ended is not None or time.monotonic() - self.started > PATIENCE:
            state = "is not ready" if ended is None else f"ended with {ended}"
            raise Failed(f"{self.name} {state}:\n{self.log.read_text(errors='replace')[-2000:]}")

    def cpu_seconds(self):
        """User and system time of the program and all its descendants, dead ones included."""
        stats = _stats()
        return sum(stats[pid][1] for pid in _tree(self.popen.pid, stats)) / TICKS

    def resident_bytes(self):
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def stop(self):
        pids = _tree(self.popen.pid, _stats())
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            # Its children are still its own as long as it has not been waited for.
            for pid in pids:
                _kill(pid)
            self.popen.wait()


def _stats():
    """Parent and used ticks of every process."""
    stats = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            text = Path(entry.path, "stat").read_text()
        except OSError:
            continue  # it has just ended
        fields = text.rpartition(")")[2].split()
        stats[int(entry.name)] = int(fields[1]), sum(int(field) for field in fields[11:15])
    return stats


def _tree(root, stats):
    tree = [root] if root in stats else []
    for pid in tree:
        tree += [child for child, (parent, _) in stats.items() if parent == pid]
    return tree


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Stage:
    """The programs of a run: each in a directory of its own under one, all ended together."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self._processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.stop()

    def start_upstream(self, program):
        """The API; returns its process and its port."""
        process = self._start("upstream", [program], self._place("upstream"))
        return process, int(process.await_line(r"ready listen=\S+:(\d+)\n")[0][1])

    def start_oncegate(self, program, upstream_port, told=(), log="off", admin="127.0.0.1:0"):
        """Oncegate; returns its process, its port and the seconds until it was ready."""
        process = self._start("oncegate", [
            program, "run", "--listen", "127.0.0.1:0",
            "--upstream", f"http://127.0.0.1:{upstream_port}",
            "--workers", "1", "--access-log", log, "--store-max-bytes", "1GiB",
            "--admin", admin, *told,
        ], self._place("oncegate"))
        match, seconds = process.await_line(r" ready [^\n]*listen=127\.0\.0\.1:(\d+)[^\n]*\n")
        process.http2_port = int(match[1])
        watched = re.search(r" admin=127\.0\.0\.1:(\d+)", match[0])
        process.admin_port = int(watched[1]) if watched else None
        return process, int(match[1]), seconds

    def start_floor(self, program, upstream_port, *told):
        """A proxy of hyper alone; its process and its port."""
        argv = [program, f"127.0.0.1:{upstream_port}", *told]
        process = self._start("floor", argv, self._place("floor"))
        match, _ = process.await_line(r"ready listen=127\.0\.0\.1:(\d+) http2=127\.0\.0\.1:(\d+)\n")
        process.http2_port = int(match[2])
        return process, int(match[1])

    def start_peer(self, name, upstream_port):
        """Another proxy, with its config rendered into its directory; its process and port."""
        place, port, http2_port = self._place(name), _free_port(), _free_port()
        template, arguments = {
            "nginx": ("nginx.conf", ["-p", place, "-e", "error.log", "-c", "nginx.conf"]),
            "haproxy": ("haproxy.cfg", ["-db", "-f", "haproxy.cfg"]),
            # No jail (it needs accounts of its own) and no command line port.
            "varnish": ("varnish.vcl", [
                "-F", "-j", "none", "-T", "none", "-n", place / "state",
                "-f", place / "varnish.vcl", "-a", f"127.0.0.1:{port}",
                "-s", "malloc,1g", "-p", "thread_pools=1",
            ]),
        }[name]
        text = (HERE / template).read_text()
        for word, value in {
            "@PORT@": port,
            "@HTTP2_PORT@": http2_port,
            "@UPSTREAM@": f"127.0.0.1:{upstream_port}",
            "@UPSTREAM_PORT@": upstream_port,
            "@USER@": getpass.getuser(),
            "@GROUP@": grp.getgrgid(os.getgid()).gr_name,
        }.items():
            text = text.replace(word, str(value))
        (place / template).write_text(text)
        (place / "temp").mkdir()
        process = self._start(name, [program_of(name), *arguments], place)
        process.await_port(port)
        process.http2_port = http2_port
        return process, port

    def start(self, name, argv):
        """Another program, which needs nothing but a directory."""
        return self._start(name, argv, self._place(name))

    @staticmethod
    def free_port():
        return _free_port()

    def _place(self, name):
        place = self.directory / f"{len(self._processes)}-{name}"
        place.mkdir()
        return place

    def _start(self, name, argv, place):
        process = Process(name, argv, place)
        self._processes.append(process)
        return process


class Weather:
    """What else keeps the machine busy: other programs, and other machines on its processors."""

    def __init__(self):
        self._began = time.monotonic(), _busy_ticks(), self._own_ticks()

    def others(self):
        """The share of the machine that went to anything but this script and what it started."""
        clock, busy, own = self._began
        taken = (_busy_ticks() - busy) - (self._own_ticks() - own)
        return max(0, taken) / TICKS / (time.monotonic() - clock) / os.cpu_count()

    @staticmethod
    def _own_ticks():
        stats = _stats()
        return sum(stats[pid][1] for pid in _tree(os.getpid(), stats))


def _busy_ticks():
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4]  # neither idle nor waiting for a disk


def program_of(name):
    """Where a peer's program is; Debian keeps some where a plain user does not look."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which({"varnish": "varnishd"}.get(name, name), path=path)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
