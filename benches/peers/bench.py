"""Runs every workload through every proxy, and compares. Started by `run`, which explains it."""

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
from pathlib import Path

from cells import (CELLS, FIRST, PASS, PROXIES, Upstream, ask, charge, check_proxy, new_prefix,
                   run_cell, wrk)
from processes import Failed, Stage, Weather, program_of
from report import MIB, print_cells, print_machine, print_targets, print_weather


def run_cells(proxies, upstream, options):
    """All cells, round by round; the figures of each, and what went wrong."""
    cells = [(workload, name) for workload, name in CELLS if name in proxies]
    figures, failures = {cell: [] for cell in cells}, []
    for number in range(1, options.rounds + 1):
        for workload, name in cells:
            progress(f"round {number}/{options.rounds}: {workload.name}, {name}")
            process, port = proxies[name]
            try:
                figures[workload, name].append(
                    run_cell(process, port, upstream, workload, options))
            except Failed as failure:
                failures.append(f"{workload.name}, {name}: {failure}")
    progress("")
    return figures, failures


def measure_start(options, upstream_port):
    """Idle memory and time until ready: the median of five starts."""
    memory, ready = [], []
    for number in range(5):
        directory = options.directory / f"start-{number}"
        directory.mkdir()
        with Stage(directory) as stage:
            process, _, seconds = stage.start_oncegate(options.oncegate, upstream_port)
            memory.append(process.resident_bytes())
            ready.append(seconds)
    return statistics.median(memory), statistics.median(ready)


def measure_records(stage, options, upstream):
    """Bytes that a kept answer costs in memory, over its own headers and body."""
    progress(f"{options.records} records")
    process, port, _ = stage.start_oncegate(options.oncegate, upstream.port)
    # What connections and pools need is there before the first record is.
    wrk(port, PASS, 1, options.connections, new_prefix())
    resident, before, prefix = process.resident_bytes(), upstream.counts(), new_prefix()
    wrk(port, FIRST, 90, options.connections, prefix,
        enough=lambda: upstream.executions() >= before[0] + options.records)
    after, grown = upstream.counts(), process.resident_bytes() - resident
    kept = after[0] - before[0]
    if kept < options.records:
        raise Failed(f"only {kept} of {options.records} records within 90 s")
    check_kept(port, prefix, options.records, upstream)
    progress("")

    answer = ask(upstream.port, "SEARCH", "/v1/charges")
    lines = sum(len(f"{name}: {value}\r\n") for name, value in answer.headers)
    return kept, grown / kept, lines + len(answer.body)


def check_kept(port, prefix, records, upstream):
    """Asks for a sample of the records again: none may have been evicted."""
    body = charge()
    before = upstream.counts()
    for number in range(1, records, max(1, records // 100)):
        answer = ask(port, "POST", "/v1/charges", f"{prefix}-{number:012}", body)
        if answer.status != 200 or ("duplicate-request", "true") not in [
            (name.lower(), value) for name, value in answer.headers
        ]:
            raise Failed(f"record {number} is not replayed: {answer}")
    if upstream.counts() != before:
        raise Failed("a kept record ran again")


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def parse():
    parser = argparse.ArgumentParser(prog="benches/peers/run", add_help=False)
    parser.add_argument("--oncegate", required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--floor", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--records", type=int)
    parser.add_argument("--only", type=lambda names: names.split(","), default=PROXIES)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    rounds, seconds, records = (1, 1, 20_000) if options.quick else (5, 3, 200_000)
    options.rounds = options.rounds or rounds
    options.seconds = options.seconds or seconds
    options.records = options.records or records
    for name in options.only:
        if name not in PROXIES:
            parser.error(f"--only: {name} is none of {', '.join(PROXIES)}")
    return options


def main():
    options = parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    names = [name for name in PROXIES if name in options.only
             and (name in ("oncegate", "floor") or program_of(name))]
    options.directory = Path(tempfile.mkdtemp(prefix="oncegate-peers-", dir=memory_disk()))
    try:
        print_machine(names, options)
        sys.exit(run(names, options))
    except Failed as failure:
        progress("")
        sys.exit(f"benches/peers/run: {failure}")
    finally:
        if options.keep:
            print(f"kept: {options.directory}")
        else:
            shutil.rmtree(options.directory)


def memory_disk():
    """A file system in memory, if there is one that is large enough and may hold programs.

    nginx keeps its cache in files, Varnish its log: on a disk they would mostly measure that disk.
    """
    try:
        state = os.statvfs("/dev/shm")
    except OSError:
        return None
    large = state.f_bavail * state.f_frsize >= 2 * 1024 * MIB
    able = os.access("/dev/shm", os.W_OK) and not state.f_flag & os.ST_NOEXEC
    return "/dev/shm" if large and able else None


def run(names, options):
    """The whole run; returns the exit code."""
    start = records = None
    with Stage(options.directory) as stage:
        _, upstream_port = stage.start_upstream(options.upstream)
        upstream = Upstream(upstream_port)
        proxies = {}
        for name in names:
            if name == "oncegate":
                start = measure_start(options, upstream_port)
                proxies[name] = stage.start_oncegate(options.oncegate, upstream_port)[:2]
            elif name == "floor":
                proxies[name] = stage.start_floor(options.floor, upstream_port)
            else:
                proxies[name] = stage.start_peer(name, upstream_port)
            check_proxy(name, proxies[name][1], upstream)
        weather = Weather()
        figures, failures = run_cells(proxies, upstream, options)
        others = weather.others()
        if "oncegate" in names:
            try:
                records = measure_records(stage, options, upstream)
            except Failed as failure:
                failures.append(f"records: {failure}")
    print_cells(figures)
    print_targets(figures, start, records)
    print_weather(others)
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    main()
