"""cc_verify, cc_verification: prove a result, and what was found."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, cast

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import NotFound
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.acceptance import next_after
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import MAX_WAIT
from cc_orchestrator.operations.place import locate_job, locate_run, spec_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.wait import wait_for
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.commands import MAX_COMMANDS, parse_commands
from cc_orchestrator.verify.job import JobState, WatchedJob, read_job
from cc_orchestrator.verify.launch import start_verification
from cc_orchestrator.verify.record import Result, read_result, speaks_of_now, verifications
from cc_orchestrator.verify.rulefile import load_rules

#: Room for checks in an answer.
_CHECKS_BYTES = 4_500
#: Checks that a short answer shows by themselves even when they passed.
_LOUD = frozenset({"finished", "result", "scope", "secrets", "tests"})


class VerifyParams(Params):
    """What to verify, with which commands."""

    run_id: str
    test_commands: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=4_000)]],
        Field(
            max_length=MAX_COMMANDS,
            description="Each split into argv, no shell; run in the run's worktree on its result.",
        ),
    ] = []
    rules: Annotated[
        dict[str, Any],
        Field(
            description="More rules, keys as in policies/verify.yaml: preset, checks, claims, junit, coverage, holdout…"
        ),
    ] = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=7_200, description="For each command.")] = 600.0
    wait_seconds: Annotated[
        float, Field(ge=0, le=MAX_WAIT, description="Bound of this call; then cc_wait with verify_id.")
    ] = 45.0


def _verify(ctx: Context, params: VerifyParams) -> dict[str, Any]:
    commands = parse_commands(params.test_commands)
    workspace, run = locate_run(ctx, params.run_id)
    rules = load_rules(workspace, params.rules)
    job, _made = start_verification(
        workspace,
        run.run_id,
        commands,
        rules,
        timeout_seconds=params.timeout_seconds,
        channel=ctx.channel,
        clock=ctx.clock,
    )
    wait_for([WatchedJob(job)], "any", params.wait_seconds, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    if read_job(job).status == "lost":
        locate_job(ctx, job.job_id)
    return _answer(workspace, run, job)


def _answer(workspace: Workspace, run: RunDir, job: JobDir, *, full: bool = False) -> dict[str, Any]:
    """A verification as a controller reads it."""
    state = read_job(job)
    out: dict[str, Any] = {"verify_id": job.job_id, "run_id": run.run_id, "status": state.status}
    if state.status == "running":
        return {**out, "step": state.step or None, "next": f'cc_wait {{"ids":["{job.job_id}"]}}'}
    result = read_result(job, state)
    out["receipt"] = cast("dict[str, Any]", (state.end or {}).get("receipt") or {}).get("n")
    if result is None:
        out.update(
            verdict=None, reason=(state.end or {}).get("reason") or "its process died",
            next=f'cc_verify {{"run_id":"{run.run_id}","test_commands":["…"]}}',
        )  # fmt: skip
        return out
    current = speaks_of_now(result, spec_of(run), read_run(run).state)
    shown = [_brief(check, full) for check in result["checks"] if full or not _is_quiet(check)]
    out.update(verdict=result["verdict"], risk=result["risk"]["risk"], checks=_fit(shown), tree=result["tree"])
    if not full:
        out["passed"] = sum(map(_is_quiet, result["checks"]))
    out.update(commit=result["commit"], current=current, file=_file(job, state))
    for key in ("made", "changed"):
        if result[key]:
            out[f"{key}_by_commands"] = [line(path, 100) for path in result[key][:10]]
    if full:
        out.update(_details(job, result))
    again = (
        f'cc_verify {{"run_id":"{run.run_id}","test_commands":{json.dumps(result["commands"], ensure_ascii=False)}}}'
    )
    out["next"] = next_after(result) if current else again
    return {key: value for key, value in out.items() if value is not None}


def _is_quiet(check: dict[str, Any]) -> bool:
    """A pass with nothing to say but its name."""
    return check["outcome"] == "pass" and check["check"] not in _LOUD


def _brief(check: dict[str, Any], full: bool) -> dict[str, Any]:
    """A pass in two words; what is not one with all that is known of it."""
    if check["outcome"] == "pass" and not full:
        return {key: check[key] for key in ("check", "outcome")}
    keys = ("check", "outcome", "measured", "limit", "evidence", "label")
    out = {key: check[key] for key in keys if check.get(key) is not None}
    if not full and not check["required"]:
        out = {key: check[key] for key in ("check", "outcome", "evidence") if check.get(key)}
        if out["outcome"] != "fail":
            out["evidence"] = line(str(out.get("evidence", "")), 160)
    if not check["required"]:
        out["required"] = False
    if check.get("override"):
        out["override"] = line(check["override"], 200)
    return out


def _fit(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The checks within their room: evidence gives way first; the file has all of it."""
    for most in (500, 200, 60):
        if len(json.dumps(checks, ensure_ascii=False).encode("utf-8", "replace")) <= _CHECKS_BYTES:
            break
        for check in checks:
            if "evidence" in check:
                check["evidence"] = line(str(check["evidence"]), most)
            if most < 500:
                check.pop("limit", None)
    return checks


def _file(job: JobDir, state: JobState) -> str:
    return os.path.join(os.path.dirname(job.path), f"{(state.result or {}).get('n')}.json")


def _details(job: JobDir, result: Result) -> dict[str, Any]:
    ran = [
        {**{key: entry[key] for key in ("command", "outcome", "exit", "signal", "seconds", "leftovers", "detail") if key in entry},
         "untrusted_tail": line(str(entry.get("tail", ""))[-300:], 300), "log": job.at(f"command-{number}.log")}
        for number, entry in enumerate(result["ran"][:8], 1)
    ]  # fmt: skip
    return {
        "risk_flags": result["risk"],
        "preset": result["preset"],
        "provenance": result["evidence"]["provenance"]["label"],
        "ran": ran,
        "where": result["ground"],
        "containment": result["containment"],
        "sandbox": result.get("sandbox"),
        "finished_at": iso(result["finished_at"]),
    }


class VerificationParams(Params):
    """One verification, or the latest of a run."""

    verify_id: str | None = None
    run_id: str | None = None
    full: Annotated[bool, Field(description="With each command and every check in full.")] = False


def _verification(ctx: Context, params: VerificationParams) -> dict[str, Any]:
    if params.verify_id is not None:
        workspace, job = locate_job(ctx, params.verify_id)
        run = RunDir(workspace.run(os.path.basename(os.path.dirname(job.path))))
        return _answer(workspace, run, job, full=params.full)
    if params.run_id is None:
        raise NotFound("neither verify_id nor run_id was given", hint='cc_verification {"run_id":"run_…"}')
    workspace, run = locate_run(ctx, params.run_id)
    jobs = verifications(workspace, run.run_id)
    if not jobs:
        raise NotFound(
            f"{run.run_id} was never verified", hint=f'cc_verify {{"run_id":"{run.run_id}","test_commands":["…"]}}'
        )
    return _answer(workspace, run, jobs[0], full=params.full)


register(Operation(
    name="cc_verify", words=("verify",), toolset="core", effect="write", default_on=True,
    summary="Check an ended run's result ourselves (scope, diff, secrets, your test commands) and answer with a verdict.",
    params=VerifyParams, handler=_verify, aliases=("cc_verify_run",), positional="run_id",
    search_hint="verify check test result verdict approve hold",
))  # fmt: skip
register(Operation(
    name="cc_verification", words=("verification",), toolset="review", effect="read",
    summary="One verification by verify_id, or the latest of a run, with its checks.",
    params=VerificationParams, handler=_verification, positional="verify_id", idempotent=True, search_hint="verdict checks evidence logs",
))  # fmt: skip
