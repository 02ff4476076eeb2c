"""Says what was measured: the machine, the cells, and the promises beside what became of them."""

import os
import re
import statistics
import subprocess
from pathlib import Path

from cells import FIRST, PASS, PASS2, REPLAY, REPLAY2
from processes import TICKS, program_of

MIB = 1024 * 1024


def print_machine(names, options):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"{model[1] if model else 'unknown processor'}, {os.cpu_count()} cores, "
          f"Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}")
    for name in names:
        program, flag = {
            "oncegate": (options.oncegate, "--version"),
            "floor": ("echo", "floor: hyper alone"),
            "haproxy": (program_of(name), "-v"),
        }.get(name, (program_of(name), "-V" if name == "varnish" else "-v"))
        done = subprocess.run([program, flag], capture_output=True, text=True, check=False)
        print((done.stdout + done.stderr).partition("\n")[0])
    print(f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections; "
          f"median of the rounds, CPU time in steps of {1000 // TICKS} ms\n")


def print_cells(figures):
    heads = ("", "", "CPU µs/request", "(min)", "core", "requests/s", "p50 µs", "p99 µs")
    rows = []
    for (workload, name), rounds in figures.items():
        cells = [f"{median(rounds, 'cpu_us'):.1f}", f"({best(rounds):.1f})",
                 f"{median(rounds, 'core'):.0%}", f"{median(rounds, 'rps'):,.0f}",
                 f"{median(rounds, 'p50_us'):,.0f}", f"{median(rounds, 'p99_us'):,.0f}",
                 ] if rounds else ["failed"] + [""] * 5
        rows.append((workload.name, name, *cells))
    print_table("llrrrrrr", heads, rows)


def print_targets(figures, start, records):
    """The figures that the project has promised, each beside its promise."""
    rows = []

    def promise(what, value, bound, unit="", digits=2, note=""):
        state = "met" if value <= bound else f"MISSED by {value / bound - 1:.0%}"
        shown = [f"{number:.{digits}f}{unit}" for number in (value, bound)]
        rows.append((what, shown[0], f"<= {shown[1]}", state, note))

    def ratios(ours, theirs):
        pairs = zip(figures.get(ours, []), figures.get(theirs, []))
        return [one.cpu_us / other.cpu_us for one, other in pairs]

    def spread(values):
        return f"(rounds {min(values):.2f} to {max(values):.2f})"

    def ratio(what, ours, theirs, bound):
        if values := ratios(ours, theirs):
            promise(what, statistics.median(values), bound, note=spread(values))

    def share(what, ours, theirs):
        """A ratio that nothing is promised of."""
        if values := ratios(ours, theirs):
            rows.append((what, f"{statistics.median(values):.2f}", "", "", spread(values)))

    ratio("CPU, replay / nginx hit", (REPLAY, "oncegate"), (REPLAY, "nginx"), 0.40)
    ratio("CPU, pass through / HAProxy", (PASS, "oncegate"), (PASS, "haproxy"), 1.05)
    ratio("CPU, first keyed / own pass through", (FIRST, "oncegate"), (PASS, "oncegate"), 1.35)
    ratio("CPU, replay / nginx hit, HTTP/2", (REPLAY2, "oncegate"), (REPLAY2, "nginx"), 0.50)
    share("floor / nginx hit, HTTP/2", (REPLAY2, "floor"), (REPLAY2, "nginx"))
    ratio("CPU, pass through / nginx, HTTP/2", (PASS2, "oncegate"), (PASS2, "nginx"), 1.10)
    share("floor / nginx, pass through, HTTP/2", (PASS2, "floor"), (PASS2, "nginx"))
    share("floor / nginx hit", (REPLAY, "floor"), (REPLAY, "nginx"))
    share("floor / HAProxy, pass through", (PASS, "floor"), (PASS, "haproxy"))
    if records:
        kept, each, answer = records
        promise("memory a record, over its answer", each - answer, 450, " B", 0,
                f"({kept:,} records of {each:.0f} B, headers and body {answer} B)")
    if start:
        promise("memory when idle", start[0] / MIB, 12, " MiB", 1)
        promise("start until ready", start[1] * 1000, 50, " ms", 1)
    if rows:
        print_table("lrrll", ("promise", "measured", "bound", "", ""), rows)


def print_weather(others):
    print(f"{others:.0%} of the machine went to other work meanwhile"
          + (": too much for figures to be trusted" if others > 0.05 else ""))


def print_table(sides, heads, rows):
    """Aligned columns, each to the left or to the right."""
    table = [heads, *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*table)]
    for row in table:
        print("  ".join(
            cell.ljust(width) if side == "l" else cell.rjust(width)
            for side, cell, width in zip(sides, row, widths)
        ).rstrip())
    print()


def median(rounds, field):
    return statistics.median(getattr(figures, field) for figures in rounds)


def best(rounds):
    return min(figures.cpu_us for figures in rounds)
