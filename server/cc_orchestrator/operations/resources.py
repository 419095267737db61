"""Artifacts of a run as MCP resources: `cc://runs/<run_id>/<name>`. Reads only files that we made, never the worker's links."""

from __future__ import annotations

import os

from cc_orchestrator.core.errors import InvalidRequest, NotFound, Unavailable
from cc_orchestrator.core.text import clean
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run

NAMES = (
    "spec.json", "prompt.md", "status.json", "progress_summary.json", "latest_decision.md", "risk_flags.json", "changed_files.json",
    "tool_timeline.md", "usage.json", "events.ndjson", "stdout.raw", "stderr.raw", "supervisor.log",
)  # fmt: skip
MAX_BYTES = 200_000


def read_resource(ctx: Context, uri: str) -> tuple[str, str]:
    """`(mime type, text)`; big files give their last MAX_BYTES. Raises InvalidRequest, NotFound."""
    head, _, rest = uri.partition("://")
    parts = rest.split("/")
    if head != "cc" or len(parts) != 3 or parts[0] != "runs":
        raise InvalidRequest(
            f"{uri[:120]!a} is not cc://runs/<run_id>/<name>", hint="cc_open_run_folder names the files"
        )
    name = parts[2]
    if name not in NAMES:
        raise NotFound(f"a run has no resource {name[:60]!a}; there are: {', '.join(NAMES)}")
    _workspace, run = locate_run(ctx, parts[1])
    try:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        with open(os.open(run.at(name), flags), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MAX_BYTES))
            data = file.read(MAX_BYTES)
    except FileNotFoundError as error:
        raise NotFound(f"{run.run_id} has no {name} (yet)", hint="cc_open_run_folder names the files") from error
    except OSError as error:
        raise Unavailable(
            f"{name} of {run.run_id} cannot be read: {error.strerror}", hint="cc_open_run_folder"
        ) from error
    mime = {"json": "application/json", "md": "text/markdown", "ndjson": "application/x-ndjson"}.get(
        name.rsplit(".", 1)[-1], "text/plain"
    )
    return mime, clean(data.decode("utf-8", "replace"))
