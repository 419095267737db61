"""Wakes waiters without any loop over files: a Unix socket that its owner rings, and that others may poke.

The socket lies in a short per-user runtime folder, because a socket's path may have about 100 bytes only. A client that is
connected gets one byte when the owner takes it in, one for each ring after that (they may melt together), and the end of file
when the owner ends or dies. The first byte matters: a ring between the connection and its taking in reaches nobody.
"""

from __future__ import annotations

import os
import selectors
import socket
import stat

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import Unavailable
from cc_orchestrator.host.scratch import temp_root

_BACKLOG = 64


def runtime_folder() -> str:
    """A folder of ours, mode 0700. Raises OSError when it cannot be had, Unavailable when somebody else owns it."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    uid = os.getuid() if hasattr(os, "getuid") else 0
    path = (
        os.path.join(base, "cc-orchestrator")
        if base and os.path.isdir(base)
        else os.path.join(_short_temp(), f"cc-orch-{uid}")
    )
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != uid):
        raise Unavailable(f"{path} is not a folder of ours", hint="remove it or set XDG_RUNTIME_DIR")
    if stat.S_IMODE(found.st_mode) != 0o700:
        os.chmod(path, 0o700)
    return path


def _short_temp() -> str:
    path = temp_root()
    return path if len(path) < 50 else "/tmp"  # noqa: S108 - the folder made in it is ours, 0700, its owner checked


class Bell:
    """The owner's side. Single threaded; never blocks."""

    def __init__(self, listener: socket.socket, path: str) -> None:
        self.path = path
        self._listener = listener
        self._listener.setblocking(False)
        self._clients: dict[int, socket.socket] = {}
        self._selector: selectors.BaseSelector | None = None

    @classmethod
    def create(cls, path: str) -> Bell:
        """Bind a fresh socket at a path of `new_path`. Raises OSError when there is no room for one."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(path)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return cls(listener, path)

    @classmethod
    def inherit(cls, fd: int, name_file: str) -> Bell | None:
        """Take over a bell that was handed to this process, its path written in a file; None for no descriptor (-1)."""
        if fd < 0:
            return None
        os.set_inheritable(fd, False)
        try:
            with open(name_file, encoding="utf-8") as file:
                return cls(socket.socket(fileno=fd), file.read().strip())
        except OSError:
            return None

    def fileno(self) -> int:
        """The listening descriptor, for handing over."""
        return self._listener.fileno()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the selector wake for pokes; `key.data` is then this bell."""
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ, self)

    def on_readable(self, key: selectors.SelectorKey) -> bool:
        """Serve one ready descriptor; True when somebody poked."""
        if key.fd == self._listener.fileno():
            self._ring(self._accept())
            return False
        return self._hear(key.fd)

    def _accept(self) -> list[int]:
        """Take in everybody who waits at the door."""
        taken: list[int] = []
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return taken
            client.setblocking(False)
            taken.append(client.fileno())
            self._clients[client.fileno()] = client
            if self._selector is not None:
                self._selector.register(client, selectors.EVENT_READ, self)

    def _hear(self, fd: int) -> bool:
        client = self._clients.get(fd)
        if client is None:
            return False
        try:
            data = client.recv(4096)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._drop(fd)
            return False
        return True

    def _drop(self, fd: int) -> None:
        client = self._clients.pop(fd)
        if self._selector is not None:
            try:
                self._selector.unregister(client)
            except (KeyError, ValueError):
                pass
        client.close()

    def ring(self) -> None:
        """Wake everybody who listens. A full buffer means that a wake is under way already."""
        if self._selector is None:
            # Nobody serves accepts in a loop: take in whoever has come meanwhile.
            self._accept()
        self._ring(list(self._clients))

    def _ring(self, fds: list[int]) -> None:
        for fd in fds:
            try:
                self._clients[fd].send(b"\n")
            except BlockingIOError:
                continue
            except OSError:
                # The other end is gone, but it may have poked before it went: then only the selector's reader may drop it.
                if self._selector is None:
                    self._drop(fd)

    def release(self) -> None:
        """Forget the descriptor without removing the socket: it belongs to another process now."""
        self._listener.close()

    def close(self) -> None:
        """End it: listeners get the end of file."""
        for fd in list(self._clients):
            self._drop(fd)
        try:
            os.unlink(self.path)
        except OSError:
            pass
        self._listener.close()


def new_path(name: str) -> str:
    """A path for a fresh socket. Raises OSError where there are no Unix sockets or no folder for them."""
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("no Unix sockets on this system")
    return os.path.join(runtime_folder(), sha256(name.encode() + os.urandom(8)).hexdigest()[:20])


def remove_dead(path_file: str) -> None:
    """Remove the socket that a dead owner left, as a file names it. Only a socket of ours on which nobody answers goes."""
    try:
        with open(path_file, encoding="utf-8") as file:
            path = file.read().strip()
        found = os.lstat(path)
        ear = listen(path)
        if ear is not None:
            ear.close()
        elif stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid():
            os.unlink(path)
    except (OSError, ValueError):
        return


def listen(path: str) -> socket.socket | None:
    """A socket that becomes readable at each ring, and ends with the owner; None when nobody is there."""
    if not hasattr(socket, "AF_UNIX"):
        return None
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    ear.settimeout(2.0)
    try:
        ear.connect(path)
    except OSError:
        ear.close()
        return None
    return ear


def listen_named(path_file: str) -> socket.socket | None:
    """As `listen`, to the bell that a file names; None also when that cannot be read or no socket be had."""
    try:
        with open(path_file, encoding="utf-8") as file:
            return listen(file.read().strip())
    except OSError:
        return None


def poke(path: str) -> bool:
    """Ask the owner to look at its control file; False when nobody is there."""
    ear = listen(path)
    if ear is None:
        return False
    with ear:
        try:
            ear.send(b"\n")
        except OSError:
            return False
    return True


def poke_named(path_file: str) -> bool:
    """As `poke`, the owner of the bell that a file names; False also when that cannot be read or no socket be had."""
    try:
        with open(path_file, encoding="utf-8") as file:
            return poke(file.read().strip())
    except OSError:
        return False


def wait_closed(path_file: str, timeout: float) -> bool:
    """Wait until the owner of the bell named in a file is gone; False when it still is there after `timeout` seconds."""
    ear = listen_named(path_file)
    if ear is None:
        return True
    with ear:
        ear.settimeout(timeout)
        try:
            while ear.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
    return True
