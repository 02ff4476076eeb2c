"""Runs replays and passed requests with and without an audience. Started by `run`, which explains it."""

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from cells import PASS, REPLAY, Upstream, run_cell
from processes import Failed, Stage, Weather
from report import best, median, print_table, print_weather

# Each with its access log, its admin address, and what of that is asked how often.
WAYS = {
    "alone": ("off", "off", {}),
    "scraped": ("off", "127.0.0.1:0", {"/metrics": 1.0}),
    "watched": ("duplicates", "127.0.0.1:0", {"/metrics": 1.0, "/api/status": 2.0}),
}


def parse():
    parser = argparse.ArgumentParser(prog="benches/admin/run", add_help=False)
    parser.add_argument("--oncegate", required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    return parser.parse_args()


class Audience:
    """Asks for paths again and again, as long as it is there."""

    def __init__(self, port, paths):
        self.port, self.ended, self.asked = port, threading.Event(), 0
        self.threads = [threading.Thread(target=self._ask, args=item) for item in paths.items()]

    def _ask(self, path, seconds):
        while not self.ended.is_set():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                answer.read()
            self.asked += 1
            self.ended.wait(seconds)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()


def main():
    options = parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    directory = Path(tempfile.mkdtemp(prefix="oncegate-admin-", dir=options.folder))
    try:
        run(options, directory)
    except Failed as failure:
        sys.exit(f"benches/admin/run: {failure}")
    finally:
        shutil.rmtree(directory)


def run(options, directory):
    with Stage(directory) as stage:
        _, upstream_port = stage.start_upstream(options.upstream)
        upstream = Upstream(upstream_port)
        proxies = {}
        for name, (log, admin, _) in WAYS.items():
            started = stage.start_oncegate(options.oncegate, upstream_port, log=log, admin=admin)
            proxies[name] = started[:2]
        time.sleep(2)
        idle = {name: process.resident_bytes() for name, (process, _) in proxies.items()}
        weather, figures = Weather(), {}
        for _ in range(options.rounds):
            for workload in (REPLAY, PASS):
                for name, (process, port) in proxies.items():
                    with Audience(process.admin_port, WAYS[name][2]):
                        got = run_cell(process, port, upstream, workload, options)
                    figures.setdefault((workload, name), []).append(got)
        others = weather.others()
    print_figures(figures)
    print_ratios(figures)
    shown = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in idle.items())
    print(f"idle: {shown}")
    print_weather(others)


def print_figures(figures):
    rows = [(workload.name, name, f"{median(rounds, 'cpu_us'):.1f}", f"({best(rounds):.1f})",
             f"{median(rounds, 'rps'):,.0f}", f"{median(rounds, 'p50_us'):,.0f}",
             f"{median(rounds, 'p99_us'):,.0f}") for (workload, name), rounds in figures.items()]
    heads = ("", "", "CPU µs/request", "(min)", "requests/s", "p50 µs", "p99 µs")
    print_table("llrrrrr", heads, rows)


def print_ratios(figures):
    rows = []
    for workload in (REPLAY, PASS):
        alone = figures[workload, "alone"]
        for name in list(WAYS)[1:]:
            row = [workload.name, name]
            for field in ("cpu_us", "p99_us"):
                ratios = [getattr(one, field) / getattr(other, field)
                          for one, other in zip(figures[workload, name], alone)]
                row += [f"{statistics.median(ratios):.2f}",
                        f"({min(ratios):.2f} to {max(ratios):.2f})"]
            rows.append(row)
    print_table("llrrrr", ("to alone", "", "CPU", "", "p99", ""), rows)


if __name__ == "__main__":
    main()
