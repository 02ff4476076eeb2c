"""Runs first requests and replays on every kind of store. Started by `run`, which explains it."""

import argparse
import re
import signal
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cells import FIRST, PASS, REPLAY, Upstream, new_prefix, run_cell, wrk
from processes import Failed, Stage, Weather
from report import MIB, best, median, print_table, print_weather

# Each with what it is told besides; the first is what the others are compared to.
STORES = {
    "memory": ["--store", "memory:"],
    "folder, claim": ["--store", "file://@FOLDER@/claim", "--store-durability", "claim"],
    "folder, answer": ["--store", "file://@FOLDER@/answer", "--store-durability", "answer"],
    "folder, none": ["--store", "file://@FOLDER@/none", "--store-durability", "none"],
    "redis": ["--store", "redis://127.0.0.1:@REDIS@", "--store-secret-file", "@FOLDER@/secret"],
}


def parse():
    parser = argparse.ArgumentParser(prog="benches/stores/run", add_help=False)
    parser.add_argument("--oncegate", required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--floor", required=True)
    return parser.parse_args()


# A proxy of hyper alone that claims and keeps by one script each, and looks at nothing.
FLOOR = "redis, floor"


class Redis:
    """A redis-server of our own."""

    def __init__(self, stage, folder):
        self.port = stage.free_port()
        argv = ["redis-server", "--port", self.port, "--save", "", "--appendonly", "no",
                "--bind", "127.0.0.1"]
        self.process = stage.start("redis", argv)
        self.process.await_port(self.port)

    def commands(self):
        """How many commands it has run that were sent to it, and how much memory it uses."""
        text = subprocess.run(["redis-cli", "-p", str(self.port), "info", "everything"],
                              capture_output=True, text=True, check=True).stdout
        calls = sum(int(count) for name, count in re.findall(
            r"cmdstat_(evalsha|eval|set|get|getrange)[^:]*:calls=(\d+)", text)
            if name.startswith("eval"))
        return calls, int(re.search(r"used_memory:(\d+)", text)[1]), int(
            re.search(r"db0:keys=(\d+)", text + "db0:keys=0")[1])


def main():
    options = parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    options.directory = Path(tempfile.mkdtemp(prefix="oncegate-stores-", dir=options.folder))
    try:
        run(options)
    except Failed as failure:
        sys.exit(f"benches/stores/run: {failure}")
    finally:
        shutil.rmtree(options.directory)


def run(options):
    folder = options.directory / "folders"
    folder.mkdir()
    (folder / "secret").write_text("a secret of thirty-two characters, or more")
    with Stage(options.directory) as stage:
        _, upstream_port = stage.start_upstream(options.upstream)
        upstream, redis = Upstream(upstream_port), Redis(stage, folder)
        words = {"@FOLDER@": str(folder), "@REDIS@": str(redis.port)}
        proxies = {}
        for name, told in STORES.items():
            for word, value in words.items():
                told = [text.replace(word, value) for text in told]
            proxies[name] = stage.start_oncegate(options.oncegate, upstream_port, told)[:2]
        floor = stage.start_floor(options.floor, upstream_port, f"redis://127.0.0.1:{redis.port}")
        weather = Weather()
        figures, trips = run_cells(proxies, floor, upstream, redis, options)
        others = weather.others()
        keys_before, (_, used, keys) = redis.before, redis.commands()
    print_figures(figures)
    print_ratios(figures, trips)
    print(f"Redis: {(used - keys_before[1]) / max(1, keys - keys_before[2]):.0f} bytes a record "
          f"with an answer of 256 bytes, {keys:,} records")
    print_weather(others)
    if options.records:
        reopen(options, folder)


def run_cells(proxies, floor, upstream, redis, options):
    figures, trips = {}, []
    redis.before = redis.commands()
    for number in range(options.rounds):
        for workload in (FIRST, REPLAY, PASS):
            with_floor = {**proxies, **({FLOOR: floor} if workload is FIRST else {})}
            for name, (process, port) in with_floor.items():
                before = redis.commands()[0]
                got = run_cell(process, port, upstream, workload, options)
                figures.setdefault((workload, name), []).append(got)
                if name == "redis":
                    # run_cell has warmed up for a second, at about the same rate.
                    requests = got.rps * (options.seconds + 1)
                    trips.append((workload, (redis.commands()[0] - before) / requests))
    return figures, trips


def print_figures(figures):
    rows = [(workload.name, name, f"{median(rounds, 'cpu_us'):.1f}", f"({best(rounds):.1f})",
             f"{median(rounds, 'rps'):,.0f}", f"{median(rounds, 'p50_us'):,.0f}",
             f"{median(rounds, 'p99_us'):,.0f}") for (workload, name), rounds in figures.items()]
    heads = ("", "", "CPU µs/request", "(min)", "requests/s", "p50 µs", "p99 µs")
    print_table("llrrrrr", heads, rows)


def print_ratios(figures, trips):
    rows = []
    for workload in (FIRST, REPLAY):
        memory = figures[workload, "memory"]
        for name in list(STORES)[1:]:
            pairs = list(zip(figures[workload, name], memory))
            rps = [one.rps / other.rps for one, other in pairs]
            cpu = [one.cpu_us / other.cpu_us for one, other in pairs]
            rows.append((workload.name, name, f"{statistics.median(rps):.2f}",
                         f"({min(rps):.2f} to {max(rps):.2f})",
                         f"{statistics.median(cpu):.2f}", f"({min(cpu):.2f} to {max(cpu):.2f})"))
    print_table("llrrrr", ("to memory", "", "requests/s", "", "CPU", ""), rows)
    for workload in (FIRST, REPLAY, PASS):
        count = statistics.median(share for kind, share in trips if kind is workload)
        print(f"Redis round trips for one {workload.name}: {count:.2f}")


def reopen(options, folder):
    """Fills a folder, ends the proxy at once, and opens it again."""
    # Its port is another one the second time, and so is the host that callers name.
    config = folder / "many.toml"
    config.write_text("[defaults]\nauthority = false\n")
    told = ["--config", config, "--store", f"file://{folder}/many", "--store-durability", "none"]
    stages = [options.directory / name for name in ("filled", "reopened")]
    for stage in stages:
        stage.mkdir()
    with Stage(stages[0]) as stage:
        _, upstream_port = stage.start_upstream(options.upstream)
        upstream = Upstream(upstream_port)
        process, port, _ = stage.start_oncegate(options.oncegate, upstream_port, told)
        before, began, prefix = upstream.executions(), time.monotonic(), new_prefix()
        wrk(port, FIRST, 600, options.connections, prefix,
            enough=lambda: upstream.executions() - before >= options.records)
        count, took = upstream.executions() - before, time.monotonic() - began
        process.popen.kill()
        process.popen.wait()
    size = sum(file.stat().st_size for file in (folder / "many").rglob("*") if file.is_file())
    with Stage(stages[1]) as stage:
        _, upstream_port = stage.start_upstream(options.upstream)
        upstream = Upstream(upstream_port)
        process, port, ready = stage.start_oncegate(options.oncegate, upstream_port, told)
        resident = process.resident_bytes()
        before = upstream.executions()
        # wrk counts the keys of each run from 1.
        got = wrk(port, FIRST, 2, options.connections, prefix)
        ran = upstream.executions() - before
        if ran:
            raise Failed(f"of {got['requests']} kept answers {ran} were executed again")
        print(f"{count:,} records in {took:.0f} s, {size / count:.0f} bytes each on disk; after a "
              f"kill -9 ready in {ready * 1000:.0f} ms with {resident / MIB:.0f} MiB resident; "
              f"{got['requests']:,} of them asked for again, none of which ran; then "
              f"{process.resident_bytes() / MIB:.0f} MiB")


if __name__ == "__main__":
    main()
