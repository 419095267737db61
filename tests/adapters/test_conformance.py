"""What every adapter must keep, whatever CLI it speaks for. A new adapter is held to it by being in the catalog."""

from __future__ import annotations

import ast
import json
import random
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cc_orchestrator.adapters
from cc_orchestrator.adapters import catalog
from cc_orchestrator.adapters.base import Adapter, Effect, Send, Session, WorkerRequest
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import Answer, Ask
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.states import REASONS
from cc_orchestrator.host.env import MARKERS, worker_env
from kit import transcripts

ADAPTERS = catalog.names()
TRANSCRIPTS = [(adapter, name) for adapter in ADAPTERS for name in transcripts.names_of(adapter)]
FACT_BYTES = 32_768
#: What an ending of the worker's own can be; the rest is ours to say.
OWN_ENDS = frozenset({"succeeded", "failed", "budget_exceeded"})
SESSION_ID = "01a21400-0000-7000-8000-00000000abcd"
PROMPT = "sentinel-prompt-7f3a: look at it"

# ---------------------------------------------------------------- shapes: type -> {key: what it must be}, `?` when it may be missing


def _text(value: Any) -> bool:
    return isinstance(value, str) and re.search("[\x00-\x08\x0b-\x1f\x7f]", value) is None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 50 and all(_text(item) for item in value)


def _figures(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(key) and _number(item) for key, item in value.items())


def _by_model(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 50
        and all(_text(key) and isinstance(item, dict) for key, item in value.items())
    )


Shape = dict[str, Callable[[Any], bool]]
_USAGE = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_usd")
SHAPES: dict[str, Shape] = {
    ev.RUN_SESSION: {"session_id": _text, "model?": _text, "cli_version?": _text, "permission_mode?": _text, "tools?": _number},
    ev.RUN_MESSAGE: {"text": _text, "chars": _number},
    ev.RUN_TURN: {"turn": lambda value: value is None or _number(value)},
    ev.RUN_RETRYING: {"cause": _text, "attempt?": _number, "max?": _number, "delay_s?": _number, "status?": _number},
    ev.RUN_USAGE: {
        **{f"{name}?": _number for name in _USAGE}, "total": _flag, "model?": _text, "models?": _by_model, "session_totals?": _figures,
    },
    ev.RUN_RESULT: {"text": _text, "is_error": _flag, "index": _number, "reason?": REASONS.__contains__, "turns?": _number},
    ev.RUN_WAITING: {"kind": _text, "until?": _number, "question_id?": _text},
    ev.RUN_RESUMED: {"after": _text},
    ev.RUN_INSTRUCTED: {"control_id": _text, "chars": _number, "delivered": _flag, "how": _text},
    ev.TOOL_STARTED: {"id": _text, "tool": _text, "kind": _text, "target": _text, "paths?": _texts, "parent?": _text},
    ev.TOOL_FINISHED: {"id": _text, "ok": _flag, "note?": _text},
    ev.POLICY_DECIDED: {
        "tool": _text, "decision": _text, "rule": _text, "kind?": _text, "target?": _text, "reason?": _text, "tool_use_id?": _text,
        "by?": _text, "correlation_id?": _text, "risk?": _text,
    },
    ev.SYSTEM_STDERR: {"text": _text},
    ev.SYSTEM_UNPARSED: {"text": _text, "bytes": _number},
    ev.SYSTEM_OVERSIZED: {"stream": _text, "bytes": _number},
    ev.SYSTEM_NOTICE: {"code": _text, "text": _text},
}  # fmt: skip


def wrong(fact: Fact) -> list[str]:
    """What does not fit its documented shape."""
    shape = SHAPES.get(fact.type)
    if shape is None:
        return [f"{fact.type} is not an adapter's to tell"]
    known = {key.rstrip("?"): key for key in shape}
    found = [f"{fact.type} has an undocumented {key}" for key in fact.data if key not in known]
    found += [f"{fact.type} lacks {key}" for key in shape if not key.endswith("?") and key not in fact.data]
    found += [
        f"{fact.type}.{key} = {value!r:.80}"
        for key, value in fact.data.items()
        if key in known and not shape[known[key]](value)
    ]
    size = len(ev.encode(1, 0.0, "run", fact.type, fact.data))
    if size > FACT_BYTES:
        found.append(f"{fact.type} takes {size} bytes")
    return found


def check_effects(effects: Iterable[Effect]) -> None:
    """Facts have their shapes; everything else is one of the effects that there are."""
    for effect in effects:
        if isinstance(effect, Fact):
            assert wrong(effect) == []
        elif isinstance(effect, Ask):
            assert effect.kind in ("permission", "choice", "clarification", "elicitation")
        else:
            assert type(effect).__name__ in ("Send", "CloseInput", "Signal")


def request_of(**changes: Any) -> WorkerRequest:
    return transcripts.request_in("/nowhere", **{"prompt": PROMPT, **changes})


def fresh(adapter: str, **changes: Any) -> tuple[Adapter, Session]:
    found = catalog.adapter(adapter)
    return found, found.session(request_of(**changes))


#: What a CLI answers before it takes its prompt.
_CODEX_HOOK = (
    b'{"data":[{"hooks":[{"key":"k","source":"sessionFlags","server":"cc_gate","eventName":"preToolUse","currentHash":"h",'
    b'"enabled":true,"trustStatus":"trusted"}]}]}'
)
GREETINGS = {
    "claude": (b'{"type":"control_response","response":{"subtype":"success","request_id":"cc-initialize","response":{}}}',),
    "codex": (
        b'{"id":"initialize","result":{}}', b'{"id":"hooks","result":' + _CODEX_HOOK + b"}",
        b'{"id":"thread","result":{"thread":{"id":"t1"},"sandbox":{"type":"readOnly","networkAccess":false}}}',
        b'{"id":"gate","result":' + _CODEX_HOOK + b"}",
        b'{"method":"turn/started","params":{"threadId":"t1","turn":{"id":"n1"}}}',
    ),
}  # fmt: skip


def greet(adapter: str, session: Session) -> list[Effect]:
    """The CLI's side of a handshake, for those that have one."""
    return [effect for line in GREETINGS.get(adapter, ()) for effect in session.on_line(line, line)]


# ---------------------------------------------------------------- transcripts


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_adapter_has_recorded_good_and_bad_endings(adapter: str) -> None:
    reasons = {transcripts.read(adapter, name).meta["expected"]["reason"] for name in transcripts.names_of(adapter)}
    assert "completed" in reasons, f"tests/adapters/transcripts/{adapter} holds no run that went well"
    assert reasons - {"completed"}, f"tests/adapters/transcripts/{adapter} holds no run that went wrong"


def test_no_transcripts_lie_about_without_an_adapter() -> None:
    folders = {path.name for path in transcripts.FOLDER.iterdir() if path.is_dir()}
    assert folders <= set(ADAPTERS)
    for folder in folders:
        stems = {path.stem for path in (transcripts.FOLDER / folder).iterdir() if path.suffix != ".json"}
        assert stems == set(transcripts.names_of(folder))


@pytest.mark.parametrize(("adapter", "name"), TRANSCRIPTS)
def test_a_transcript_comes_to_what_was_recorded_however_it_is_split(adapter: str, name: str) -> None:
    transcript = transcripts.read(adapter, name)
    whole = transcripts.replay(transcript)
    assert whole.summary() == transcript.meta["expected"]
    generator = random.Random(name)
    for sizes in ((1,), (7, 64), tuple(generator.randint(1, 200) for _ in range(50))):
        again = transcripts.replay(transcript, sizes)
        assert again.facts == whole.facts
        assert again.asks == whole.asks
        assert again.ending == whole.ending


@pytest.mark.parametrize(("adapter", "name"), TRANSCRIPTS)
def test_facts_have_their_documented_shapes_and_bounds(adapter: str, name: str) -> None:
    replayed = transcripts.replay(transcripts.read(adapter, name))
    check_effects([*replayed.facts, *replayed.asks])
    assert REASONS[replayed.ending.reason] in OWN_ENDS
    assert len(replayed.ending.text.encode()) <= 80_000
    assert "\n" not in replayed.ending.detail


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_no_transcript_holds_a_key_or_a_place_of_somebodys_machine(adapter: str) -> None:
    for name in transcripts.names_of(adapter):
        transcript = transcripts.read(adapter, name)
        text = transcript.stdout.decode("utf-8", "replace") + json.dumps(transcript.meta)
        assert re.search(r"dummy-key|/home/|/Users/|/root|registry\.", text) is None, name


# ---------------------------------------------------------------- any bytes

LINES = {
    adapter: [line for name in transcripts.names_of(adapter) for line in transcripts.read(adapter, name).stdout.split(b"\n")]
    for adapter in ADAPTERS
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


def _objects(adapter: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in LINES[adapter] if line.startswith(b"{") and line.endswith(b"}")]
    return [value for value in found if isinstance(value, dict)]


@st.composite
def bent(draw: st.DrawFn, values: list[dict[str, Any]]) -> bytes:
    """A real message with some of its inner values replaced by anything."""
    value = json.loads(json.dumps(draw(st.sampled_from(values))))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = value
        while isinstance(place, dict) and place:
            key = draw(st.sampled_from(sorted(place)))
            if isinstance(place[key], dict) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.integers(0, 4)):
                place[key] = draw(JSON)
            else:
                del place[key]
            break
    return json.dumps(value).encode()


@pytest.mark.parametrize("adapter", ADAPTERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_bytes_make_a_session_raise_or_say_what_is_not_documented(adapter: str, data: st.DataObject) -> None:
    found, session = fresh(adapter)
    strange = st.one_of(
        st.binary(max_size=80), bent(_objects(adapter)), st.sampled_from(LINES[adapter]), JSON.map(lambda v: json.dumps(v).encode())
    )  # fmt: skip
    check_effects(session.begin())
    for line in data.draw(st.lists(strange, max_size=8)):
        effects = session.on_line(line, line)
        check_effects(effects)
        for ask in effects:
            if isinstance(ask, Ask):
                check_effects(session.answer(ask.key, Answer("deny", "no")))
    check_effects(session.on_stderr(data.draw(st.binary(max_size=80))))
    check_effects(session.instruct(data.draw(st.text(max_size=40)), "c1"))
    check_effects(session.answer(data.draw(st.text(max_size=10)), Answer("allow")))
    check_effects([*session.conclude("enough"), *session.interrupt()])
    exit_code = data.draw(st.none() | st.integers(0, 255))
    ending = session.ending(exit_code, None if exit_code is not None else data.draw(st.integers(1, 64)))
    assert REASONS[ending.reason] in OWN_ENDS
    assert found.name == adapter


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_deep_long_and_odd_lines_are_survived(adapter: str) -> None:
    _, session = fresh(adapter)
    session.begin()
    odd = (
        b"[" * 50_000,
        b'{"a":' * 20_000,
        b"\xff" * 100_000,
        b'{"type":"' + b"x" * 900_000 + b'"}',
        b'{"type":NaN}',
        b"\x00",
        b"\r",
    )
    for line in odd:
        check_effects(session.on_line(line, line))
        check_effects(session.on_stderr(line))


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(("exit_code", "signal"), [(0, None), (1, None), (None, 9)])
def test_a_process_that_said_nothing_did_not_succeed(adapter: str, exit_code: int | None, signal: int | None) -> None:
    _, session = fresh(adapter)
    session.begin()
    assert REASONS[session.ending(exit_code, signal).reason] == "failed"


# ---------------------------------------------------------------- the command


def _shapes_of_request(adapter: Adapter) -> list[WorkerRequest]:
    env = {name: f"sentinel-secret-{number}" for number, name in enumerate(adapter.secret_env)}
    base = request_of(env=env)
    more = [
        base._replace(allow_write=True),
        base._replace(model="some-model", max_turns=3, max_tokens=5, max_cost_usd=1.0),
    ]
    if adapter.capabilities.resume:
        more.append(base._replace(resume=SESSION_ID, allow_write=True))
    if adapter.capabilities.fork:
        more.append(base._replace(resume=SESSION_ID, fork=True))
    return [base, *more]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_neither_prompt_nor_secret_is_in_argv_and_no_secret_in_a_file(adapter: str) -> None:
    found = catalog.adapter(adapter)
    for request in _shapes_of_request(found):
        assert found.check(request) == []
        invocation = found.invocation(request)
        argv = "\x00".join(invocation.argv)
        assert "sentinel" not in argv
        assert "sentinel-secret" not in json.dumps(invocation.files)
        assert PROMPT not in json.dumps(invocation.env)
        assert all(path.startswith(request.run_dir + "/") for path, _text in invocation.files)
        assert set(request.env) <= set(invocation.env)
        assert invocation.stdin == "pipe"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_prompt_is_sent_by_stdin(adapter: str) -> None:
    _, session = fresh(adapter)
    effects = [*session.begin(), *greet(adapter, session)]
    assert PROMPT.encode() in b"".join(effect.data for effect in effects if isinstance(effect, Send))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_resumed_and_a_forked_session_are_named_to_the_cli(adapter: str) -> None:
    found = catalog.adapter(adapter)
    if not found.capabilities.resume:
        pytest.skip(f"{adapter} says that it cannot resume")
    plain, resumed, forked = (
        (found.invocation(request), said_to_begin(adapter, request))
        for request in (request_of(resume=resume, fork=fork) for resume, fork in ((None, False), (SESSION_ID, False), (SESSION_ID, True)))
    )  # fmt: skip
    assert resumed != plain
    if adapter != "fake":
        assert SESSION_ID in resumed[0].argv or SESSION_ID.encode() in resumed[1]
    assert (forked != resumed) == found.capabilities.fork


def said_to_begin(adapter: str, request: WorkerRequest) -> bytes:
    """All that a CLI is told until it has its prompt."""
    session = catalog.adapter(adapter).session(request)
    effects = [*session.begin(), *greet(adapter, session)]
    return b"".join(effect.data for effect in effects if isinstance(effect, Send))


# ---------------------------------------------------------------- honest capabilities


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_who_cannot_be_steered_says_that_nothing_was_delivered(adapter: str) -> None:
    found, session = fresh(adapter)
    session.begin()
    greet(adapter, session)
    effects = session.instruct("do it otherwise", "c1")
    if found.capabilities.steer:
        assert any(isinstance(effect, Send) for effect in effects)
        return
    (fact,) = effects
    assert isinstance(fact, Fact)
    assert fact.type == ev.RUN_INSTRUCTED
    assert (fact.data["control_id"], fact.data["delivered"]) == ("c1", False)
    assert session.conclude("enough") == []
    if not found.capabilities.interrupt:
        assert session.interrupt() == []


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_transcripts_show_what_the_capabilities_say(adapter: str) -> None:
    can = catalog.adapter(adapter).capabilities
    seen = [transcripts.replay(transcripts.read(adapter, name)) for name in transcripts.names_of(adapter)]
    facts = [fact for replayed in seen for fact in replayed.facts]
    asks = [ask for replayed in seen for ask in replayed.asks]
    usage = [fact.data for fact in facts if fact.type == ev.RUN_USAGE]
    turns = any(fact.type == ev.RUN_TURN or "turns" in fact.data for fact in facts)
    assert any("cost_usd" in data for data in usage) == (can.cost != "never")
    assert any("output_tokens" in data for data in usage) == (can.tokens != "never")
    assert turns == (can.turns != "never")
    assert bool(asks) == (can.questions or can.gates_every_call)
    assert any(ask.gate for ask in asks) == can.gates_every_call


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_limit_that_cannot_be_kept_is_refused_or_declared(adapter: str) -> None:
    found = catalog.adapter(adapter)
    can = found.capabilities
    for limit, value, when in (
        ("max_turns", 3, can.turns),
        ("max_tokens", 10, can.tokens),
        ("max_cost_usd", 0.5, can.cost),
    ):
        asked: dict[str, Any] = {limit: value}
        told = [*found.check(request_of(**asked)), *found.declare(request_of(**asked))]
        if when != "live":
            assert any(limit in sentence for sentence in told), f"{adapter} knows {limit} {when} and does not say so"
        without = found.declare(request_of())
        assert not any(limit in sentence for sentence in without), f"{adapter} speaks of {limit} which nobody asked for"


# ---------------------------------------------------------------- environment, imports

#: Whose key each of these is; clouds that several CLIs can use are nobody's.
KEYS = {
    "ANTHROPIC_API_KEY": "claude", "ANTHROPIC_AUTH_TOKEN": "claude", "ANTHROPIC_BASE_URL": "claude", "CLAUDE_CODE_OAUTH_TOKEN": "claude",
    "OPENAI_API_KEY": "codex", "OPENAI_BASE_URL": "codex", "CODEX_API_KEY": "codex", "CODEX_HOME": "codex", "GEMINI_API_KEY": "gemini",
    "FAKE_WORKER_SECRET": "fake", "GITHUB_TOKEN": "nobody", "CC_ORCHESTRATOR_DATABASE_URL": "nobody", "CC_RUN_ID": "nobody",
}  # fmt: skip


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_workers_inherit_no_session_marker_and_nobody_elses_keys(adapter: str) -> None:
    found = catalog.adapter(adapter)
    assert not set(found.env_allow) & MARKERS
    parent = dict.fromkeys((*KEYS, *MARKERS), "x")
    inherited = set(worker_env(parent, found.env_allow, {}))
    assert inherited == {name for name, owner in KEYS.items() if owner == adapter.removesuffix("-exec")}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_secret_that_a_worker_may_inherit_by_name_is_masked(adapter: str) -> None:
    found = catalog.adapter(adapter)
    assert set(worker_env(dict.fromkeys(found.secret_env, "x"), found.env_allow, {})) == set(found.secret_env)
    words = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")
    named = {name for name in found.env_allow if words.search(name) and not name.endswith(("*", "_FILE"))}
    assert named - _HARMLESS <= set(found.secret_env)


#: Named like a secret, and none.
_HARMLESS = {
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS", "MAX_THINKING_TOKENS", "CLAUDE_CODE_MAX_CONTEXT_TOKENS", "CLAUDE_CODE_API_KEY_HELPER_TTL_MS",
    "CLAUDE_CODE_CLIENT_KEY",  # the path of a file
}  # fmt: skip


def test_adapters_import_nothing_but_the_standard_library_and_what_lies_below() -> None:
    folder = Path(cc_orchestrator.adapters.__file__).parent
    foreign: list[str] = []
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            foreign += [
                f"{path.name}: {name}"
                for name in names
                if name.split(".")[0] not in sys.stdlib_module_names
                and not name.startswith(("cc_orchestrator.core", "cc_orchestrator.adapters"))
            ]
    assert foreign == []
