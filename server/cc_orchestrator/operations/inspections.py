"""cc_git_diff, cc_diff_summary, cc_export_report: what a run changed, in full or in figures."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.errors import InvalidRequest, NotFound
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import clean
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.sandbox_git import objects_of
from cc_orchestrator.insight.report import write_report
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run, spec_of, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.runs.reading import read_run


class DiffParams(Params):
    """A run's diff against its base, or a checkout's against HEAD."""

    run_id: str | None = None
    cwd: str | None = None
    limit_chars: Annotated[int, Field(ge=500, le=40_000)] = 6_000


class _Range:
    """What to compare: `git diff` arguments and the folder."""

    def __init__(self, ctx: Context, params: DiffParams) -> None:
        self.run_id = params.run_id
        self.env: dict[str, str] = {}
        if params.run_id is None:
            workspace = workspace_of(ctx, params.cwd)
            if workspace.repository is None:
                raise InvalidRequest(f"{workspace.root} is not a git repository", hint="name a run by run_id")
            self.folder, self.args, self.what = workspace.repository, ("HEAD",), "checkout against HEAD (tracked files)"
            return
        workspace, run = locate_run(ctx, params.run_id)
        spec, state = spec_of(run), read_run(run).state
        if not spec.allow_write or spec.worktree is None or spec.base is None:
            raise NotFound(f"{run.run_id} is read-only: it has no diff", hint="cc_summarize_run")
        snapshot = state["snapshot"]
        if snapshot is not None:
            self.folder, self.args = str(workspace.repository), (str(snapshot["base"]), str(snapshot["commit"]))
            self.what = "base against the run's result"
        elif os.path.isdir(spec.worktree):
            self.env = objects_of(run.private)
            self.folder, self.args, self.what = (
                spec.worktree,
                (spec.base,),
                "base against the live worktree (tracked files)",
            )
        else:
            raise NotFound(
                f"{run.run_id} has no result and no worktree yet", hint=f'cc_wait {{"ids":["{run.run_id}"]}}'
            )

    def git(self, *options: str) -> str:
        """`git diff` as text."""
        try:
            return (
                Git(self.folder, env=self.env)
                .run("diff", "--no-ext-diff", "--no-textconv", "-M", *options, *self.args, "--")
                .decode("utf-8", "replace")
            )
        except GitError as error:
            raise NotFound(f"the diff cannot be made: {error}", hint="cc_recover; the commit may be gone") from error


def _git_diff(ctx: Context, params: DiffParams) -> dict[str, Any]:
    found = _Range(ctx, params)
    text = clean(mask_text(found.git()))
    cut_off = len(text) > params.limit_chars
    out: dict[str, Any] = {
        "what": found.what,
        "untrusted_diff": text[: params.limit_chars],
        "chars": len(text),
        "truncated": cut_off,
    }
    if cut_off:
        out["next"] = "raise limit_chars, or git diff " + " ".join(found.args)
    return out


def _diff_summary(ctx: Context, params: DiffParams) -> dict[str, Any]:
    found = _Range(ctx, params)
    files: list[dict[str, Any]] = []
    added = deleted = 0
    fields = found.git("--numstat", "-z").split("\0")
    position = 0
    while position < len(fields) and fields[position]:
        plus, minus, path = fields[position].split("\t", 2)
        position += 1
        row: dict[str, Any] = {}
        if not path:
            # A rename: old and new name follow as fields of their own.
            row["from"], path = fields[position], fields[position + 1]
            position += 2
        row = {"path": clean(path), **row}
        if plus == "-":
            row["binary"] = True
        else:
            row.update(added=int(plus), deleted=int(minus))
            added, deleted = added + int(plus), deleted + int(minus)
        files.append(row)
    return {
        "what": found.what, "file_count": len(files), "added": added, "deleted": deleted, "files": files[:60], "truncated": len(files) > 60,
    }  # fmt: skip


class ReportParams(Params):
    """Which run."""

    run_id: str


def _export_report(ctx: Context, params: ReportParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    path = write_report(workspace, run, spec_of(run), ctx.clock)
    return {"run_id": run.run_id, "path": path, "bytes": os.path.getsize(path)}


register(Operation(
    name="cc_git_diff", words=("diff",), toolset="review", effect="read", summary="The diff of a run's result against its base.",
    params=DiffParams, handler=_git_diff, positional="run_id", result_cap=200_000, idempotent=True, search_hint="git diff changes patch",
))  # fmt: skip
register(Operation(
    name="cc_diff_summary", words=("diff-summary",), toolset="review", effect="read", summary="Changed files with line counts.",
    params=DiffParams, handler=_diff_summary, positional="run_id", idempotent=True, search_hint="changed files lines diffstat",
))  # fmt: skip
register(Operation(
    name="cc_export_report", words=("report",), toolset="review", effect="write",
    summary="Write a run's Markdown report and answer with its path.", params=ReportParams, handler=_export_report, positional="run_id",
    idempotent=True, search_hint="report markdown export",
))  # fmt: skip
