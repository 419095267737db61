"""Where everything lies. The only module that knows a folder name.

A workspace is the root of the main checkout (also seen from a linked worktree or a subfolder), or the folder itself where
there is no git; its files lie in `.agent-workspace/` there. Reads files only, runs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import InvalidRequest, NotFound
from cc_orchestrator.core.ids import check_id

FOLDER = ".agent-workspace"
ROOT_VARIABLE = "CC_ORCHESTRATOR_WORKSPACE_ROOT"


class Workspace:
    """Absolute paths of one project's workspace. `repository` is the checkout's root, None without git."""

    __slots__ = ("repository", "root")

    def __init__(self, root: str, repository: str | None = None) -> None:
        self.root = root
        self.repository = repository

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workspace) and (self.root, self.repository) == (other.root, other.repository)

    def __hash__(self) -> int:
        return hash((self.root, self.repository))

    def __repr__(self) -> str:
        return f"Workspace({self.root!r}, {self.repository!r})"

    @property
    def folder(self) -> str:
        """`<root>/.agent-workspace`."""
        return os.path.join(self.root, FOLDER)

    def at(self, *parts: str) -> str:
        """A path below the workspace folder; parts come from us, never from a caller."""
        return os.path.join(self.folder, *parts)

    @property
    def runs(self) -> str:
        """All run folders."""
        return self.at("runs")

    def run(self, run_id: str) -> str:
        """One run's folder; InvalidRequest for anything that is no run id."""
        return os.path.join(self.runs, check_id(run_id, "run", hint="cc_status lists runs"))

    def existing_run(self, run_id: str) -> str:
        """One run's folder; NotFound when there is none here."""
        path = self.run(run_id)
        if not os.path.isdir(path):
            raise NotFound(
                f"there is no run {run_id} in {self.root}", hint="cc_status lists the runs of this workspace"
            )
        return path

    def verification(self, run_id: str) -> str:
        """The folder of a run's verifications."""
        return os.path.join(self.at("verify"), check_id(run_id, "run"))

    def reviews(self, task_id: str) -> str:
        """The folder of a task's reviews, fix loops and findings."""
        return os.path.join(self.at("reviews"), check_id(task_id, "task"))

    def delivery(self, delivery_id: str) -> str:
        """The folder of one delivery."""
        return self.at("deliveries", check_id(delivery_id, "dlv"))

    @property
    def deliveries(self) -> str:
        """All deliveries, and the queue's own files."""
        return self.at("deliveries")

    def branch_lock(self, target: str) -> str:
        """Held by the process that serves a branch's deliveries."""
        return self.at("deliveries", f".{sha256(target.encode('utf-8', 'surrogateescape')).hexdigest()[:20]}.lock")

    @property
    def worktrees(self) -> str:
        """The worktrees of all tasks that write."""
        return self.at("worktrees")

    @property
    def worktree_settings(self) -> str:
        """What every new worktree gets: `{install, install_seconds, links}`. Written by the user alone."""
        return self.at("worktree.json")

    def lent(self, task_id: str) -> str:
        """What was lent to a task's worktree: `{paths}`."""
        return self.at("tasks", check_id(task_id, "task"), "lent.json")

    def worktree(self, task_id: str) -> str:
        """The worktree of a task that writes."""
        return self.at("worktrees", check_id(task_id, "task"))

    def cli_home(self, task_id: str, adapter: str) -> str:
        """Where the workers of one task keep their CLI's state, when they run in a sandbox: conversations can be resumed."""
        return self.at("homes", check_id(task_id, "task"), adapter)

    def claim(self, client_request_id: str) -> str:
        """The file that makes a client_request_id unique."""
        return self.at("runs", ".requests", sha256(client_request_id.encode()).hexdigest()[:40])

    @property
    def queue(self) -> str:
        """The queue's own files. Made by the first submission."""
        return self.at("queue")

    @property
    def queue_journal(self) -> str:
        """The truth of the queue: appended by whoever holds its lock."""
        return self.at("queue", "events.ndjson")

    @property
    def queue_lock(self) -> str:
        """Held while something is appended to the queue's journal."""
        return self.at("queue", "lock")

    @property
    def queue_fold(self) -> str:
        """Cache: the queue as its journal tells it up to an offset. Written by the engine."""
        return self.at("queue", "fold.json")

    @property
    def queue_pending(self) -> str:
        """Is there while the queue has something left to do."""
        return self.at("queue", "pending")

    @property
    def queue_policy(self) -> str:
        """How many at once, how often, how long. Written by cc_queue_policy or by hand."""
        return self.at("queue_policy.json")

    def submission(self, task_id: str) -> str:
        """What a queued task is to be started with."""
        return self.at("tasks", check_id(task_id, "task"), "submission.json")

    def engine(self, *parts: str) -> str:
        """The engine's folder, or a file in it: `lock`, `bell`, `engine.log`, `state.sqlite`."""
        return self.at("engine", *parts)

    @property
    def ledger(self) -> str:
        """Receipts."""
        return self.at("ledger")

    @property
    def open_items(self) -> str:
        """The ledger of open items."""
        return self.at("open_items")

    @property
    def quality(self) -> str:
        """The ledger of scores: the quality history."""
        return self.at("quality")

    @property
    def budget_settings(self) -> str:
        """What runs may use together. Written by cc_budget or by hand."""
        return self.at("budgets.json")

    @property
    def accounts(self) -> str:
        """What runs have used and hold of shared budgets: one file for each day, task, workflow and the workspace."""
        return self.at("budgets")

    @property
    def prices(self) -> str:
        """Prices of models that count before all others here: `{"models": {name: {input, output, …}}}`. Written by the user."""
        return self.at("prices.json")

    @property
    def standings(self) -> str:
        """Who has which trust."""
        return self.at("trust", "standings.ndjson")

    @property
    def policies(self) -> str:
        """The project's own rules: `verify.yaml`, `*.cedar`."""
        return self.at("policies")

    @property
    def approvals(self) -> str:
        """Requests, decisions and uses of approvals."""
        return self.at("approvals", "approvals.ndjson")

    @property
    def approvals_lock(self) -> str:
        """Held while one is decided or used. Its folder is made by whoever asks for it."""
        os.makedirs(self.at("approvals"), mode=0o700, exist_ok=True)
        return self.at("approvals", "decide.lock")

    @property
    def reach(self) -> str:
        """Who may say yes to which risk. Written by the user alone."""
        return self.at("approvals.json")

    @property
    def grants(self) -> str:
        """Which secrets are granted, by name."""
        return self.at("trust", "grants.ndjson")

    @property
    def index(self) -> str:
        """The rebuildable SQLite index."""
        return self.at("index.sqlite")


def existing_folder(cwd: str) -> str:
    """`cwd` resolved; InvalidRequest when it is missing, no folder, or holds a NUL."""
    if not cwd or "\0" in cwd:
        raise InvalidRequest(f"cwd {cwd[:80]!a} is not a path", hint="give an absolute path of an existing folder")
    path = os.path.realpath(os.path.expanduser(cwd))
    if not os.path.exists(path):
        raise InvalidRequest(f"cwd {path} does not exist; nothing was created", hint="give an existing folder")
    if not os.path.isdir(path):
        raise InvalidRequest(f"cwd {path} is a file, a folder was expected", hint=f"cwd={os.path.dirname(path)}")
    return path


def find_workspace(cwd: str, env: Mapping[str, str]) -> Workspace:
    """The workspace that `cwd` belongs to. InvalidRequest for a missing folder or a bare repository."""
    path = existing_folder(cwd)
    override = env.get(ROOT_VARIABLE)
    if override:
        root = existing_folder(override)
        return Workspace(root, root if os.path.exists(os.path.join(root, ".git")) else None)
    here = path
    while True:
        dot_git = os.path.join(here, ".git")
        if os.path.isdir(dot_git):
            return Workspace(here, here)
        if os.path.isfile(dot_git):
            root = _main_checkout(here, dot_git)
            return Workspace(root, root)
        if _is_bare(here):
            raise InvalidRequest(
                f"{here} is a bare repository: workers need a checkout", hint="cwd of a clone or worktree"
            )
        parent = os.path.dirname(here)
        if parent == here:
            return Workspace(path, None)
        here = parent


def checkout_of(cwd: str) -> str | None:
    """The root of the checkout that a resolved `cwd` lies in: a linked worktree counts as itself. None without git."""
    here = cwd
    while not os.path.exists(os.path.join(here, ".git")):
        parent = os.path.dirname(here)
        if parent == here:
            return None
        here = parent
    return here


def _main_checkout(here: str, dot_git: str) -> str:
    """The main checkout of a linked worktree; `here` for a submodule or a worktree of a bare repository."""
    try:
        with open(dot_git, encoding="utf-8", errors="replace") as file:
            head = file.read(4096)
        git_dir = os.path.join(here, head.partition("gitdir:")[2].strip())
        with open(os.path.join(git_dir, "commondir"), encoding="utf-8", errors="replace") as file:
            common = os.path.realpath(os.path.join(git_dir, file.read(4096).strip()))
    except OSError:
        return here
    return os.path.dirname(common) if os.path.basename(common) == ".git" else here


def _is_bare(path: str) -> bool:
    return (
        os.path.isfile(os.path.join(path, "HEAD"))
        and os.path.isdir(os.path.join(path, "objects"))
        and os.path.isdir(os.path.join(path, "refs"))
        and os.path.basename(path) != ".git"
    )


def state_home(env: Mapping[str, str]) -> str:
    """The per-user folder that remembers workspaces."""
    base = env.get("XDG_STATE_HOME") or env.get("LOCALAPPDATA")
    if not base:
        base = os.path.join(env.get("HOME") or os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "cc-orchestrator")


def config_home(env: Mapping[str, str]) -> str:
    """The per-user folder of files that the user writes."""
    base = env.get("XDG_CONFIG_HOME") or env.get("APPDATA")
    if not base:
        base = os.path.join(env.get("HOME") or os.path.expanduser("~"), ".config")
    return os.path.join(base, "cc-orchestrator")
