"""How a Codex thread is begun so that nothing of it can slip by: which hooks count, what is asked for, and what came back. Pure."""

from __future__ import annotations

from cc_orchestrator.adapters.base import WorkerRequest
from cc_orchestrator.adapters.codex_gate import SERVER
from cc_orchestrator.adapters.codex_items import rows
from cc_orchestrator.adapters.lines import Object, object_at, text_at


def hook_state(listed: Object, *, others: bool) -> Object | None:
    """`hooks.state` for the thread: ours is trusted, all others are off unless `others`. None when ours is not there."""
    state: Object = {}
    for hook in _hooks(listed):
        key, found = text_at(hook, "key"), text_at(hook, "currentHash")
        if _is_gate(hook):
            state[key] = {"enabled": True, "trusted_hash": found}
        elif not others:
            state[key] = {"enabled": False}
    return state if any(entry["enabled"] for entry in state.values()) else None


def trouble(listed: Object) -> str:
    """What Codex says is wrong with its configuration; it would go on with its defaults."""
    return next((text_at(error, "message") for entry in rows(listed, "data") for error in rows(entry, "errors")), "")


def gate_stands(listed: Object) -> bool:
    """Whether the thread has the gate, switched on and trusted."""
    return any(
        _is_gate(hook) and hook.get("enabled") is True and text_at(hook, "trustStatus") in ("trusted", "managed")
        for hook in _hooks(listed)
    )


def _hooks(listed: Object) -> list[Object]:
    return [hook for entry in rows(listed, "data") for hook in rows(entry, "hooks")]


def _is_gate(hook: Object) -> bool:
    return (text_at(hook, "source"), text_at(hook, "server"), text_at(hook, "eventName")) == (
        "sessionFlags",
        SERVER,
        "preToolUse",
    )


def thread_request(request: WorkerRequest, state: Object) -> tuple[str, Object]:
    """Method and parameters that begin, resume or fork the thread."""
    params: Object = {
        "cwd": request.cwd, "approvalPolicy": "on-request", "approvalsReviewer": "user",
        "sandbox": "workspace-write" if request.allow_write else "read-only", "config": {"hooks.state": state},
    }  # fmt: skip
    if request.model:
        params["model"] = request.model
    if request.resume is None:
        return "thread/start", params
    params.update(threadId=request.resume, excludeTurns=True)
    return "thread/fork" if request.fork else "thread/resume", params


def wrong_sandbox(started: Object, request: WorkerRequest) -> str:
    """What of the sandbox that Codex says it has is not what was asked for; "" when it is."""
    sandbox = object_at(started, "sandbox")
    wanted = "workspaceWrite" if request.allow_write else "readOnly"
    if text_at(sandbox, "type") != wanted:
        return f"its sandbox is {text_at(sandbox, 'type') or 'unknown'}, not {wanted}"
    if sandbox.get("networkAccess") is not False:
        return "its sandbox is open to the network"
    return ""
