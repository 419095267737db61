"""How far a worker is held, and the one plan that wraps its command. Pure: paths are looked up by a function that is passed in.

Levels, each holding what the one before it holds: `none`, `worktree` (its own tree by convention: nothing stops a command that
leaves it), `fs` (writes only its tree, its outbox, a CLI home and a temporary folder of its own; sees no secret folder, no
other process, no socket by path), `fs+net` (reaches only named hosts). A level is kept whole or the run is refused.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Literal, NamedTuple

Level = Literal["none", "worktree", "fs", "fs+net"]
BackendName = Literal["bubblewrap", "nono", "landlock"]
BACKENDS: tuple[BackendName, ...] = ("bubblewrap", "nono", "landlock")
LEVELS: tuple[Level, ...] = ("none", "worktree", "fs", "fs+net")
MARKER = "CC_RUN_ID"
#: Where the proxy's socket appears inside.
PROXY_SOCKET = "/run/cc-proxy.sock"
#: Where the repository's own objects appear inside: git finds them by `info/alternates` of the run's private ones.
BASE_OBJECTS = "/run/cc-objects"
#: The port on the sandbox's own loopback that speaks CONNECT; the next free one where an allowed host has it.
PROXY_PORT = 3128

Look = Callable[[str], Literal["dir", "file", ""]]
_TMP, _VAR_TMP = os.path.join(os.sep, "tmp"), os.path.join(os.sep, "var", "tmp")
_USER = "1000"
_INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox_inside.py")

#: Other people's homes, sockets, logs. What a worker needs below one of them is mounted over it.
_HIDDEN = ("/home", "/root", "/run", "/var/run", "/mnt", "/media", "/var/log", "/var/mail", "/var/spool")
#: What root alone may read: for a worker that runs as root, without capabilities but still the owner.
_ROOTS = (
    "/var/lib/docker", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/rancher", "/var/lib/postgresql", "/var/lib/mysql",
    "/var/lib/private", "/var/lib/cloud", "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers",
    "/etc/sudoers.d", "/etc/ssl/private", "/etc/kubernetes", "/etc/rancher", "/etc/wireguard", "/etc/krb5.keytab",
    "/etc/NetworkManager", "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key",
    "/etc/docker", "/etc/netrc",
)  # fmt: skip
#: The same on macOS, by their real names: also scratch folders, other volumes and the second name of all of it.
_HIDDEN_MACOS = (
    "/Users", "/Volumes", "/System/Volumes", "/cores", "/private/tmp", "/private/var/tmp", "/private/var/folders",
    "/private/var/root", "/private/var/run", "/private/var/log", "/private/var/mail", "/private/var/spool", "/private/var/db",
    "/private/etc/sudoers", "/private/etc/sudoers.d", "/private/etc/master.passwd", "/private/etc/krb5.keytab", "/Library/Keychains",
)  # fmt: skip
#: Settings of the kernel that root may write without any capability: folders become read-only, files cannot be opened.
_KERNEL = (
    "/proc/sys",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/acpi",
    "/proc/scsi",
    "/proc/driver",
    "/proc/sysrq-trigger",
)
#: Read-only below the worker's otherwise empty home: tools and how git is to be written, never a credential.
_TOOLCHAINS = (
    ".local/bin", ".local/lib", ".local/share/uv", ".local/share/pipx", ".local/share/mise", ".local/share/pnpm",
    ".local/share/claude", ".nvm", ".npm-global", ".volta", ".fnm", ".pyenv", ".rbenv", ".asdf", ".sdkman", ".rustup",
    ".cargo/bin", ".cargo/registry", ".bun/bin", ".deno/bin", "go/bin", "go/pkg", ".gitconfig", ".config/git/config",
    ".config/git/ignore", ".config/git/attributes",
)  # fmt: skip
#: Ways to other processes of the user, and folders that are not there inside.
_DROPPED = ("SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "TEMP", "TMP",
            "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")  # fmt: skip
#: Housekeeping of git would write where a worker may not.
_GIT = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "gc.auto", "GIT_CONFIG_VALUE_0": "0",
        "GIT_CONFIG_KEY_1": "maintenance.auto", "GIT_CONFIG_VALUE_1": "false"}  # fmt: skip


class SandboxError(Exception):
    """A level that was asked for cannot be kept; the text says why."""


class Backend(NamedTuple):
    """A means that works on this machine. `gaps`: what it does not hold, as sentences.

    `program` is bubblewrap's, or the folder of the package `nono_py`; `system` is what nono stands on: Landlock or Seatbelt.
    """

    name: BackendName
    program: str
    flags: tuple[str, ...] = ()
    locks_namespaces: bool = False
    gaps: tuple[str, ...] = ()
    system: str = sys.platform


class GitPaths(NamedTuple):
    """What a commit in a worktree writes. `heads` and `logs` hold the run's branch; private copies are mounted over them."""

    common: str
    admin: str
    heads: str
    logs: str
    branch: str  # the last part of its name


class CliHome(NamedTuple):
    """The folder in which a CLI keeps its state: inside it is `store`, which is the task's own; `shared` files are the user's."""

    folder: str
    store: str
    shared: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    variable: str = ""


class Ground(NamedTuple):
    """Where one worker stands. Absolute, resolved paths."""

    run_id: str
    cwd: str
    tree: str
    may_write: bool
    outbox: str
    private: str
    home: str
    workspace: str
    checkout: str | None = None
    git: GitPaths | None = None
    cli: CliHome | None = None
    hidden: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    nests: bool = False
    is_root: bool = False
    hosts: tuple[str, ...] = ()
    proxy: str = ""
    admin: str = ""  # a copy of git's folder of the worktree, to be thrown away; "": the folder itself


class Mount(NamedTuple):
    """`ro` and `rw` show `source` at `target`.

    `hide` puts an empty folder there that stays empty, `memory` one that can be written, `mask` a file that cannot be opened.
    """

    kind: Literal["ro", "rw", "hide", "memory", "mask"]
    target: str
    source: str = ""


class Plan(NamedTuple):
    """The command to start instead, and what holds it. `wrapped`: the process that is started is not the worker itself."""

    argv: tuple[str, ...]
    env: dict[str, str]
    level: Level
    backend: str
    wrapped: bool


def at_least(level: str, wanted: Level) -> bool:
    """Whether `level` holds what `wanted` holds."""
    return level in LEVELS and LEVELS.index(level) >= LEVELS.index(wanted)


def plan_sandbox(
    level: Level, backend: Backend, argv: Sequence[str], env: Mapping[str, str], ground: Ground, look: Look
) -> Plan:
    """Wrap `argv`. Raises SandboxError when the level cannot be kept here."""
    if is_within(ground.home, ground.tree):
        raise SandboxError(f"the folder {ground.tree} holds your home: no sandbox can show it without your secrets")
    if level == "fs+net" and backend.name != "bubblewrap":
        raise SandboxError("fs+net needs bubblewrap: rules for ports hold for every address, and for TCP only")
    mounts = lay_out(ground, look)
    inner = _environment(env, ground)
    if backend.name != "bubblewrap":
        return Plan(_by_rules(backend, argv, ground, mounts), _moved(inner, ground), level, backend.name, False)
    command = tuple(argv)
    if level == "fs+net" and (ground.proxy or ground.hosts):
        local = local_hosts(ground.hosts)
        port = next(port for port in count(PROXY_PORT) if not any(host.endswith(f":{port}") for host in local))
        command = inside_command("relay", "\n".join([str(port), PROXY_SOCKET, *local]), argv)
        inner.update(proxy_variables(port))
        mounts.append(Mount("ro", PROXY_SOCKET, ground.proxy))
    return Plan((*_bubblewrap(level, backend, ground, mounts, look), "--", *command), inner, level, backend.name, True)


def inside_command(what: str, config: str, argv: Sequence[str]) -> tuple[str, ...]:
    """`argv` behind our launcher, which runs in the worker's process before it becomes the worker."""
    return (os.path.realpath(sys.executable), "-I", "-S", _INSIDE, what, config, *argv)


def proxy_variables(port: int) -> dict[str, str]:
    """How programs find the way out."""
    url = f"http://127.0.0.1:{port}"
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    return {**dict.fromkeys(names, url), "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def local_hosts(hosts: Sequence[str]) -> list[str]:
    """Those of `host:port` that are on this machine's loopback: they are offered at the same port inside."""
    return [host for host in hosts if host.rpartition(":")[0] in ("127.0.0.1", "localhost")]


# ---------------------------------------------------------------- what a worker sees


def lay_out(ground: Ground, look: Look) -> list[Mount]:
    """Everything that differs from a read-only view of the whole machine, outer folders first."""
    found: dict[str, Mount] = {}
    for path in (*_HIDDEN, *(_ROOTS if ground.is_root else ()), *ground.hidden):
        kind = look(path)
        if kind:
            _put(found, Mount("hide" if kind == "dir" else "mask", path))
    temporary = os.path.join(ground.private, "tmp")
    for path in (_TMP, _VAR_TMP):
        if look(path) == "dir":
            # Codex takes a mounted folder's name from where it was mounted, which is not there inside.
            _put(found, Mount("memory", path) if ground.nests else Mount("rw", path, temporary))
    _put(found, Mount("rw", ground.home, os.path.join(ground.private, "home")))
    for name in _TOOLCHAINS:
        path = os.path.join(ground.home, name)
        if look(os.path.realpath(path)):
            _put(found, Mount("ro", path, os.path.realpath(path)))
    for mount in (*_project(ground), *_readable(ground, found, look), *_git(ground, look), *_own(ground, look)):
        _put(found, mount)
    return sorted(found.values(), key=lambda mount: mount.target.rstrip("/").count("/"))


def _put(found: dict[str, Mount], mount: Mount) -> None:
    found[mount.target] = mount


def _project(ground: Ground) -> list[Mount]:
    """A writer sees its own tree and nothing of the main checkout; a reader sees the checkout and nothing of ours."""
    rows = [Mount("hide", ground.checkout)] if ground.may_write and ground.checkout else []
    return [*rows, Mount("hide", ground.workspace)]


def _readable(ground: Ground, found: Mapping[str, Mount], look: Look) -> list[Mount]:
    """What is needed and would be hidden otherwise."""
    covers = [target for target, mount in found.items() if mount.kind != "ro"]
    covers += [ground.workspace, *([ground.checkout] if ground.checkout else [])]
    rows: list[Mount] = []
    for path in sorted(ground.readable):
        if any(is_within(path, row.target) for row in rows):
            continue
        above = [target for target in covers if is_within(path, target)]
        if above and path not in above and not is_within(ground.home, path) and look(path):
            rows.append(Mount("ro", path, path))
    resolver = os.path.realpath("/etc/resolv.conf")
    return [*rows, *([Mount("ro", resolver, resolver)] if resolver.startswith("/run/") and look(resolver) else [])]


def _git(ground: Ground, look: Look) -> list[Mount]:
    """Objects and the run's own branch are private copies; hooks, configuration and all that was there stay as they are."""
    git = ground.git
    if git is None:
        return []
    rows = [Mount("ro", git.common, git.common)]
    if not ground.may_write:
        return rows
    objects, private = os.path.join(git.common, "objects"), os.path.join(ground.private, "objects")
    rows += [
        Mount("rw", objects, private),
        Mount("ro", BASE_OBJECTS, objects),
        Mount("rw", git.admin, ground.admin or git.admin),
    ]
    rows.append(Mount("ro", os.path.join(objects, "info"), os.path.join(private, "info")))
    fixed = [os.path.join(git.admin, name) for name in ("commondir", "gitdir", "config.worktree")]
    rows += [Mount("ro", path, path) for path in fixed if look(path)]
    for name, target in (("heads", git.heads), ("logs", git.logs)):
        if look(target) == "dir":
            rows.append(Mount("rw", target, os.path.join(ground.private, name)))
    return rows


def _own(ground: Ground, look: Look) -> list[Mount]:
    rows = [
        Mount("rw" if ground.may_write else "ro", ground.tree, ground.tree),
        Mount("rw", ground.outbox, ground.outbox),
    ]
    link = os.path.join(ground.tree, ".git")
    if ground.may_write and look(link):
        # Replaced by another one, it would have us run git with the worker's configuration.
        rows.append(Mount("ro", link, link))
    rows += [Mount("rw", path, path) for path in ground.writable]
    cli = ground.cli
    if cli is None:
        return rows
    rows.append(Mount("rw", cli.folder, cli.store))
    for kind, names in (("rw", cli.shared), ("ro", cli.readable)):
        for name in names:
            path = os.path.join(cli.folder, name)
            if look(os.path.realpath(path)):
                rows.append(Mount("rw" if kind == "rw" else "ro", path, os.path.realpath(path)))
    return rows


def is_within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _environment(env: Mapping[str, str], ground: Ground) -> dict[str, str]:
    kept = {name: value for name, value in env.items() if name not in _DROPPED}
    temporary = kept.get("TMPDIR", "")
    # A scratch folder that the adapter asked for stays what it is.
    own = any(is_within(temporary, path) for path in ground.writable) if temporary else False
    return {**kept, **_GIT, "HOME": ground.home, "TMPDIR": temporary if own else _TMP}


# ---------------------------------------------------------------- bubblewrap


def _bubblewrap(level: Level, backend: Backend, ground: Ground, mounts: Sequence[Mount], look: Look) -> tuple[str, ...]:
    argv = [backend.program, *backend.flags, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL"]
    if backend.locks_namespaces and not ground.nests:
        argv.append("--disable-userns")
    if ground.nests and ground.is_root:
        # A namespace below may map any user but root of the one above it: kernels since 5.12 ask for a capability there.
        argv += ["--uid", _USER, "--gid", _USER]
    if level == "fs+net":
        argv.append("--unshare-net")
    # In argv, where whatever the worker starts can read it of its first ancestor: see ancestry.py.
    argv += ["--setenv", MARKER, ground.run_id, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    argv += _kernel(look) if ground.is_root else []
    for kind, target, source in mounts:
        if kind in ("hide", "memory"):
            argv += ["--perms", "0555" if kind == "hide" else "1777", "--tmpfs", target]
        elif kind == "mask":
            # A device on a mount without devices: it cannot be opened.
            argv += ["--ro-bind", "/dev/null", target]
        else:
            argv += ["--ro-bind" if kind == "ro" else "--bind", source, target]
    # Folders that were made for what lies below are the worker's own. Each step takes a millisecond: only where there are some.
    for _kind, folder, _source in [mount for mount in mounts if mount.kind == "hide"]:
        if any(mount.target != folder and is_within(mount.target, folder) for mount in mounts):
            argv += ["--remount-ro", folder]
    return (*argv, "--chdir", ground.cwd)


def _kernel(look: Look) -> list[str]:
    """Root in a user namespace is still the owner of these, and bubblewrap covers them for others only."""
    argv: list[str] = []
    for path in _KERNEL:
        kind = look(path)
        argv += ["--ro-bind", path if kind == "dir" else "/dev/null", path] if kind else []
    return argv


# ---------------------------------------------------------------- nono, Landlock


def _by_rules(backend: Backend, argv: Sequence[str], ground: Ground, mounts: Sequence[Mount]) -> tuple[str, ...]:
    """Rules only add: folders that hold something closed are opened child by child, so nothing of git can be written."""
    closed = [mount.target for mount in mounts if mount.kind in ("hide", "mask")]
    closed += [ground.home, "/dev", _TMP, _VAR_TMP]
    git = ground.git.common if ground.git is not None else None
    opened = [
        m.source for m in mounts if m.kind == "ro" and (git is None or m.source == git or not is_within(m.source, git))
    ]
    writable = [ground.private, ground.outbox, *ground.writable, *([ground.tree] if ground.may_write else [])]
    if ground.cli is not None:
        writable += [ground.cli.store, *(os.path.join(ground.cli.folder, name) for name in ground.cli.shared)]
    config: dict[str, object] = {"closed": closed, "read": [*opened, ground.tree], "write": writable}
    if backend.name == "nono":
        config["package"] = backend.program
        if backend.system == "darwin":
            closed += _HIDDEN_MACOS
    return inside_command(backend.name, json.dumps(config), argv)


def _moved(env: Mapping[str, str], ground: Ground) -> dict[str, str]:
    """Without mounts the private folders have other names."""
    out = {**env, "HOME": os.path.join(ground.private, "home")}
    if out["TMPDIR"] == _TMP:
        out["TMPDIR"] = os.path.join(ground.private, "tmp")
    if ground.cli is not None and ground.cli.variable:
        out[ground.cli.variable] = ground.cli.store
    return out
