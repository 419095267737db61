"""Every test has a home of its own, inherits no settings or keys from outside, and leaves no process behind.

Tests marked `real_cli` need the pinned programs of `kit.clis`: in CI their absence is a failure, elsewhere the session says
at its end which of them did not run and why.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from kit import clis
from kit.model_stub import ModelStub
from kit.waiting import until

FOREIGN = ("CC_", "ANTHROPIC_", "OPENAI_", "CLAUDE", "CODEX", "GEMINI", "GOOGLE_", "AWS_", "GIT_", "MCP_", "OTEL_")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def isolated_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """HOME, XDG folders and TMPDIR of this test alone; `tmp_path` stays empty."""
    home = tmp_path_factory.mktemp("home")
    folders = {
        "XDG_CONFIG_HOME": ".config",
        "XDG_CACHE_HOME": ".cache",
        "XDG_DATA_HOME": "share",
        "XDG_STATE_HOME": "state",
    }
    for name in list(os.environ):
        if (
            name.startswith(FOREIGN)
            or name.endswith(("_API_KEY", "_proxy", "_PROXY"))
            or name == "PYTHONDONTWRITEBYTECODE"
        ):
            monkeypatch.delenv(name)
    for name, value in {"HOME": ".", "TMPDIR": "tmp", "XDG_RUNTIME_DIR": "run", **folders}.items():
        folder = home / value
        folder.mkdir(mode=0o700, exist_ok=True)
        monkeypatch.setenv(name, str(folder))
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled-rules"
    lend_compiled_rules(home, shared)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield home
    keep_compiled_rules(home, shared)


RULES = Path(".cache", "kingfisher", "rule-cache")


def lend_compiled_rules(home: Path, shared: Path) -> None:
    """The scanner of secrets compiles its rules once for each home, for five seconds of work: here once for all tests."""
    for file in shared.glob("*.vscdb"):
        (home / RULES).mkdir(parents=True, exist_ok=True, mode=0o700)
        (home / ".cache" / "kingfisher").chmod(0o700)
        os.link(file, home / RULES / file.name)


def keep_compiled_rules(home: Path, shared: Path) -> None:
    """What a test compiled serves the next."""
    for file in (home / RULES).glob("*.vscdb"):
        shared.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(file, shared / file.name)


@pytest.fixture
def model_stub() -> Iterator[ModelStub]:
    """A running model stub without scripts."""
    with ModelStub() as stub:
        yield stub


# ---------------------------------------------------------------- nobody is left behind


@pytest.fixture(scope="session", autouse=True)
def nobody_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After the last test no worker of this session may live. Those that do are ended, and the session fails."""
    yield
    base = str(tmp_path_factory.getbasetemp())
    try:
        until(lambda: not _survivors(base), timeout=5.0, interval=0.1)
    except AssertionError:
        left = _survivors(base)
        for process in left:
            process.kill()
        names = [f"{process.pid} {process.info['cmdline']}" for process in left]
        raise AssertionError(f"workers outlived the test session: {names}") from None


def _survivors(base: str) -> list[psutil.Process]:
    """Processes with our marker whose environment names this session's folder (other sessions may run beside us)."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            environ = process.environ()
            ours = "CC_RUN_ID" in environ and any(base in value for value in environ.values())
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


# ---------------------------------------------------------------- tests that need the real CLIs


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without the pinned CLIs: a failure in CI, an open skip elsewhere."""
    if item.get_closest_marker("real_cli") is None:
        return
    reason = clis.available()
    if reason and clis.IN_CI:
        pytest.fail(f"in CI the real CLIs must be there: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"real CLI: {reason}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One clear line about what did not run."""
    skipped = [report.nodeid for report in terminalreporter.stats.get("skipped", []) if "real_cli" in report.keywords]
    if skipped:
        reason = clis.available() or "see above"
        terminalreporter.write_line(
            f"NOT RUN with the real CLIs ({reason}): {len(skipped)} tests: {', '.join(skipped)}", yellow=True
        )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: most tests wait for processes, and the cores are idle meanwhile."""
    return (os.cpu_count() or 1) + 1
