"""Prints the product's figures beside their goals and the seed's.

    python tests/bench/run.py [names] [--quick] [--long] [--strict] [--json FILE]

A missed goal is shown as MISS; the exit status is 0 all the same, unless --strict. A measurement that breaks is shown as
BROKEN with its error and is a failure in either case. Needs Linux for the figures of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from bench import codex, confinement, queueing, scale, soak, supervision, surface
from bench.table import Row, calibrate, render

Measurement = Callable[[Path, bool], list[Row]]
MEASUREMENTS: dict[str, Measurement] = {
    "tools": surface.tool_list, "door": surface.start, "use": surface.first_use, "cli": surface.command_line,
    "starts": scale.starts, "polls": scale.polls, "supervisor": supervision.supervisor, "sandbox": confinement.confinement,
    "reserving": supervision.reserving, "throughput": supervision.throughput, "codex": codex.codex,
    "latency": supervision.latency, "line": supervision.one_line, "stop": supervision.stopping, "reads": supervision.reads_while_writing,
}  # fmt: skip
LONG: dict[str, Measurement] = {"soak": soak.fifty_workers, "queue": queueing.queue}


def main() -> int:
    """Measure, print, say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", choices=[[], *MEASUREMENTS, *LONG], help="which; default: all but the long ones"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and smaller pasts")
    parser.add_argument("--long", action="store_true", help="the soak as well")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    parser.add_argument("--json", metavar="FILE", help="write the rows there as well")
    given = parser.parse_args()
    every = {**MEASUREMENTS, **LONG}
    names = given.names or [*MEASUREMENTS, *(LONG if given.long else ())]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    loop = calibrate()
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; load {load:.1f}; "
          f"calibration loop {loop:.1f} ms; times: median (fastest-slowest)\n")  # fmt: skip
    rows: list[Row] = []
    broken = 0
    for name in names:
        print(f"… {name}", file=sys.stderr, flush=True)
        found, failed = _measure(name, every[name], given.quick)
        rows += found
        broken += failed
    print(render(rows))
    missed = [row.figure for row in rows if row.ok is False]
    print(
        f"\n{len(missed)} missed"
        + (": " + "; ".join(missed) if missed else "")
        + (f"; {broken} BROKEN" if broken else "")
    )
    if given.json:
        Path(given.json).write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n", encoding="utf-8")
    return 1 if broken or (given.strict and missed) else 0


def _measure(name: str, measurement: Measurement, quick: bool) -> tuple[list[Row], bool]:
    folder = Path(tempfile.mkdtemp(prefix="ccb-"))
    begun = time.monotonic()
    try:
        return measurement(folder, quick), False
    except Exception as error:
        print(f"  {name}: {error!r}", file=sys.stderr)
        return [Row(name, "-", "-", f"BROKEN: {str(error)[:150]}")], True
    finally:
        print(f"  {name}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
