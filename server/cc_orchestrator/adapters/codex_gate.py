"""The gate of a Codex worker: a program that Codex starts as an MCP server, and whose one tool its PreToolUse hook calls.

It decides nothing. Each call is passed on as an elicitation, which Codex brings to its client, the run's session; the answer
`{decision, reason}` goes back as the hook's word. So every call waits for us on the pipes that are there anyway, without a
socket, and without a process for each. It lists no tools: the hook finds the one it names, and the model sees none.

Codex lets a call pass when a hook fails. So whatever goes wrong here is a denial: no answer, a strange answer, a broken call.
A command that is allowed is given back as one word for `eval`: the user's execpolicy rules, which lift commands out of the sandbox
without a question, do not match it, and Codex does not ask once more for an `rm -rf` in the tree, in words that cannot be told from
a request to leave the sandbox. Run as a file, by itself: standard library only, nothing of ours.
"""

from __future__ import annotations

import json
import sys
from typing import Any, cast

SERVER, TOOL = "cc_gate", "judge"
_POSIX = sys.platform != "win32"
#: What is passed on of a call. A patch of any size is judged by its file names.
MOST_INPUT = 100_000
_SHELL, _PATCH = "Bash", "apply_patch"
_HEADS = ("*** Add File:", "*** Update File:", "*** Delete File:", "*** Move to:")
_SCHEMA = {
    "type": "object",
    "properties": {"decision": {"type": "string"}, "reason": {"type": "string"}},
    "required": ["decision"],
}

Object = dict[str, Any]


def hook(timeout: int) -> str:
    """The hook that calls the tool, as a TOML value."""
    sources = {"tool": "tool_name", "id": "tool_use_id", "cwd": "cwd", "input": "tool_input"}
    given = ",".join(f'{name}="${{{source}}}"' for name, source in sources.items())
    return f'{{type="mcp_tool",server="{SERVER}",tool="{TOOL}",timeout={timeout},input={{{given}}}}}'


def _object(value: Any) -> Object:
    return cast("Object", value) if isinstance(value, dict) else {}


def passed_on(arguments: Object) -> Object:
    """What of a call is asked about: all of it, or what a long one can be judged by."""
    given = _object(arguments.get("input"))
    if len(json.dumps(given)) <= MOST_INPUT:
        return arguments
    text = given.get("command")
    if isinstance(text, str) and arguments.get("tool") == _PATCH:
        heads = "\n".join(row for row in text.splitlines() if row.startswith(_HEADS))
        if len(heads) <= MOST_INPUT:
            return {**arguments, "input": {"command": heads}}
    return {**arguments, "input": {}, "cut": True}


def verdict(arguments: Object, result: Object) -> Object:
    """The hook's output for an answer of the client."""
    answer = _object(result.get("content"))
    output: Object = {"hookEventName": "PreToolUse"}
    if result.get("action") != "accept" or answer.get("decision") != "allow":
        reason = answer.get("reason")
        output.update(permissionDecision="deny", permissionDecisionReason=str(reason or "nobody allowed it"))
        return {"hookSpecificOutput": output}
    given = _object(arguments.get("input"))
    if not _POSIX or arguments.get("tool") != _SHELL or "command" not in given:
        return {}
    output.update(permissionDecision="allow", updatedInput={**given, "command": wrap(str(given["command"]))})
    return {"hookSpecificOutput": output}


def wrap(command: str) -> str:
    """The command as one word, which the shell takes up again."""
    quoted = command.replace("'", "'\"'\"'")
    return f"eval '{quoted}'"


class Gate:
    """Calls that wait for their answers: any number at once."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Any, Object]] = {}
        self._asked = 0

    def take(self, message: Object) -> Object | None:
        """What to say to a message of Codex, if anything."""
        method, number = message.get("method"), message.get("id")
        if method == "tools/call":
            return self._ask(number, message)
        if method is None:
            return self._answer(message)
        if number is None:
            return None
        if method == "initialize":
            asked = _object(message.get("params"))
            return _reply(number, {
                "protocolVersion": asked.get("protocolVersion", "2025-06-18"), "capabilities": {"tools": {}},
                "serverInfo": {"name": SERVER, "version": "1"},
            })  # fmt: skip
        return _reply(number, {"tools": []} if method == "tools/list" else {})

    def _ask(self, number: Any, message: Object) -> Object:
        arguments = _object(_object(message.get("params")).get("arguments"))
        self._asked += 1
        key = f"gate-{self._asked}"
        self._waiting[key] = (number, arguments)
        asked = {"message": json.dumps(passed_on(arguments)), "requestedSchema": _SCHEMA}
        return {"jsonrpc": "2.0", "id": key, "method": "elicitation/create", "params": asked}

    def _answer(self, message: Object) -> Object | None:
        found = self._waiting.pop(str(message.get("id")), None)
        if found is None:
            return None
        number, arguments = found
        output = verdict(arguments, _object(message.get("result")))
        return _reply(number, {"content": [{"type": "text", "text": json.dumps(output)}]})


def _reply(number: Any, result: Object) -> Object:
    return {"jsonrpc": "2.0", "id": number, "result": result}


def main() -> None:
    """Serve until the end of input."""
    gate = Gate()
    for row in sys.stdin:
        try:
            message = json.loads(row)
        except ValueError:
            continue
        said = gate.take(_object(message))
        if said is not None:
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
