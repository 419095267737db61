"""A rebuildable SQLite index over runs, so that lists and sums cost nothing like the number of runs.

Launch and the end of a run write it; a sweep rebuilds it; readers open it read-only. It is never the truth: a failure to
write it fails nothing, and a row that says a run is live is checked against the run's lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from select import select as select_ready
from typing import TYPE_CHECKING, Any

from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.core.late import load

if TYPE_CHECKING:
    import sqlite3

COLUMNS = (
    "run_id", "task_id", "status", "reason", "adapter", "role", "model", "actual_model", "allow_write", "created_at",
    "finished_at", "input_tokens", "output_tokens", "cost_usd", "parent_run_id",
)  # fmt: skip
_SCHEMA = """
create table if not exists runs (
  run_id text primary key, task_id text, status text, reason text, adapter text, role text, model text, actual_model text,
  allow_write integer, created_at real, finished_at real, input_tokens integer, output_tokens integer, cost_usd real,
  parent_run_id text
) without rowid;
create index if not exists live on runs (run_id) where finished_at is null;
create index if not exists by_task on runs (task_id);
create index if not exists by_end on runs (finished_at);
"""
#: How often a reader looks again at an index without its table, a hundredth of a second apart.
_MAKING_TRIES = 50
_TOTALS = """
select count(*) runs, coalesce(sum(input_tokens), 0) + coalesce(sum(output_tokens), 0) tokens,
  coalesce(sum(cost_usd), 0.0) cost_usd, coalesce(sum(finished_at - created_at), 0.0) wall_seconds,
  coalesce(sum(cost_usd is null), 0) cost_unknown
from runs where finished_at is not null and (? is null or task_id = ?)
  and (? is null or strftime('%Y-%m-%d', created_at, 'unixepoch') = ?)
"""


def _open(path: str) -> sqlite3.Connection:
    fresh = not os.path.exists(path)
    db: sqlite3.Connection = load("sqlite3").connect(path, timeout=5.0, isolation_level=None)
    if fresh:
        db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=normal")
    db.executescript(_SCHEMA)
    return db


def put(path: str, rows: Iterable[dict[str, Any]], *, keep: bool = False) -> None:
    """Insert or replace rows (`keep`: rows that are there stay); missing columns are null.

    A corrupt index is set aside and begun anew. Raises OSError.
    """
    values = [tuple(row.get(column) for column in COLUMNS) for row in rows]
    marks = ",".join("?" * len(COLUMNS))
    verb = "ignore" if keep else "replace"
    statement = f"insert or {verb} into runs ({','.join(COLUMNS)}) values ({marks})"  # noqa: S608 - constants only
    lite = load("sqlite3")
    for attempt in (1, 2):
        try:
            with closing(_open(path)) as db:
                db.execute("begin immediate")
                db.executemany(statement, values)
                db.execute("commit")
            return
        except lite.DatabaseError as error:
            if attempt == 2 or (isinstance(error, lite.OperationalError) and "malformed" not in str(error)):
                raise OSError(f"index {path}: {error}") from error
            set_aside(path)


def set_aside(path: str) -> None:
    """Move a broken index out of the way; the next sweep rebuilds it."""
    for suffix in ("", "-wal", "-shm"):
        try:
            os.replace(path + suffix, f"{path}.broken{suffix}")
        except OSError:
            pass


def select(path: str, where: str = "1", args: tuple[Any, ...] = (), *, limit: int = 50) -> list[dict[str, Any]]:
    """Rows, newest first. `where` is our own text, never a caller's. No index: []. A broken one: Corrupt."""
    text = f"select {','.join(COLUMNS)} from runs where {where} order by run_id desc limit {int(limit)}"  # noqa: S608
    return _query(path, text, args)


def sums(path: str, since: float = 0.0) -> list[dict[str, Any]]:
    """Runs, tokens and cost by status and actual model of runs created after `since` (epoch seconds)."""
    return _query(
        path,
        "select status, coalesce(actual_model, model) model, count(*) runs, sum(input_tokens) input_tokens,"
        " sum(output_tokens) output_tokens, sum(cost_usd) cost_usd, sum(cost_usd is null) cost_unknown"
        " from runs where created_at >= ? group by 1, 2 order by 3 desc",
        (since,),
    )


def totals(path: str, *, task_id: str | None = None, day: str | None = None) -> dict[str, Any]:
    """Runs, tokens, cost and seconds of the ended runs of a task or a UTC day (`2026-01-31`), and how many have no cost."""
    rows = _query(path, _TOTALS, (task_id, task_id, day, day))
    return rows[0] if rows else {}


def _query(path: str, text: str, args: tuple[Any, ...]) -> list[dict[str, Any]]:
    if not os.path.exists(path):
        return []
    lite = load("sqlite3")
    for left in range(_MAKING_TRIES, -1, -1):
        try:
            with closing(lite.connect(f"file:{_quote(path)}?mode=ro", uri=True, timeout=2.0)) as db:
                db.row_factory = lite.Row
                return [dict(row) for row in db.execute(text, args)]
        except lite.DatabaseError as error:
            if not left or "no such table" not in str(error):
                raise Corrupt(f"the index {path} cannot be read: {error}", hint="cc_recover rebuilds it") from error
            # The first run of a workspace is making it at this moment, or it is empty for good.
            select_ready((), (), (), 0.01)
    return []


def _quote(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
