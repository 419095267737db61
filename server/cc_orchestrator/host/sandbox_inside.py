"""Runs in the worker's process before it becomes the worker: rules of Landlock or nono, and the way out of a network of its own.

A program of its own, standard library only: `sandbox_inside.py landlock CONFIG argv…` with CONFIG an object {closed, read, write:
paths}, `sandbox_inside.py nono CONFIG argv…` with CONFIG the same and `package`, the folder of the package nono_py, or
`sandbox_inside.py relay CONFIG argv…` with CONFIG the lines port, socket, `host:port`…: loopback ports that lead
through the proxy's socket. Exits 125 when the sandbox cannot be set up; the worker is not started then.
"""

from __future__ import annotations

# The worker waits for this program: json and socket alone would take longer than the interpreter's start (22 ms of 34), so
# everything but the most necessary is imported where it is needed.
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_FILE = 1 | 2 | 4 | 1 << 14 | 1 << 15  # execute, write, read, truncate, ioctl: what a rule on a file may hold
_READ = 1 | 4 | 8
_NEEDED_ABI = 6
_DEVICES = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "shm", "pts", "ptmx")]


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *args: Any) -> int:
    import ctypes

    result = int(_libc().syscall(number, *args))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def open_paths(closed: list[str], top: str = "/") -> list[str]:
    """Folders and files that together are everything below `top` but what is closed."""
    if top in closed:
        return []
    below = top.rstrip("/") + "/"
    if not any(path.startswith(below) for path in closed):
        return [top]
    try:
        names = os.listdir(top)
    except OSError:
        return []
    found: list[str] = []
    for name in names:
        path = below + name
        if not os.path.islink(path):
            found += open_paths(closed, path)
    return found


def restrict(closed: list[str], read: list[str], write: list[str]) -> None:
    """Restrict this process and all that come from it. Raises OSError."""
    import ctypes
    import struct

    version = _call(_CREATE, None, ctypes.c_size_t(0), 1)
    if version < _NEEDED_ABI:
        raise OSError(f"Landlock {_NEEDED_ABI} is needed, this kernel has {version}")
    every = (1 << 16) - 1
    attributes = struct.pack("QQQ", every, 0, 3)  # no rule for ports; abstract sockets and signals stay within
    rules = _call(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    for path in [*open_paths(closed), *read]:
        _allow(rules, path, _READ)
    for path in [*write, *_DEVICES]:
        _allow(rules, path, every)
    _libc().prctl(38, 1, 0, 0, 0)
    _call(_RESTRICT, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    import struct

    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        access &= _FILE
    try:
        _call(_ADD, rules, 1, struct.pack("=Qi", access, fd), 0)
    finally:
        os.close(fd)


def restrict_by_nono(package: str, closed: list[str], read: list[str], write: list[str]) -> None:
    """The same by nono: Landlock on Linux, Seatbelt on macOS. Raises OSError."""
    from importlib import import_module
    from types import ModuleType

    # Its front imports pydantic and an audit log, 130 ms for each worker: only the native part is needed.
    front = ModuleType("nono_py")
    front.__path__ = [package]
    sys.modules["nono_py"] = front
    try:
        nono = import_module("nono_py._nono_py")
        if sys.platform == "linux" and not nono.detect_abi().has_scoping:
            raise OSError(f"nono needs Landlock {_NEEDED_ABI} to keep signals inside, this kernel has less")
        rules = nono.CapabilitySet()
        for path in [*open_paths(closed), *read]:
            _grant(rules, path, nono.AccessMode.READ)
        for path in [*write, *_DEVICES]:
            _grant(rules, path, nono.AccessMode.READ_WRITE)
        nono.apply(rules)
    except (ImportError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise OSError(f"nono: {error}") from error


def _grant(rules: Any, path: str, mode: Any) -> None:
    try:
        (rules.allow_path if os.path.isdir(path) else rules.allow_file)(path, mode)
    except (OSError, ValueError):
        # It is not there, or neither file nor folder: what is not granted stays closed.
        return


def drop_capabilities() -> None:
    """What root could do beyond its own files goes: it loads modules, and reads every environment past Landlock since Linux 6.15.

    Raises OSError when a root keeps any of it.
    """
    import struct

    libc = _libc()
    kept = [number for number in range(64) if libc.prctl(23, number, 0, 0, 0) == 1 and libc.prctl(24, number, 0, 0, 0)]
    libc.prctl(47, 4, 0, 0, 0)
    if libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24)) or (kept and os.geteuid() == 0):
        raise OSError("the capabilities of root cannot be dropped here")


# ---------------------------------------------------------------- the way out


def relay(port: int, path: str, hosts: list[str]) -> None:
    """Open the ports, then leave a child behind that serves them for as long as the worker lives."""
    doors = [(_listen(port), "")]
    for host in hosts:
        try:
            doors.append((_listen(int(host.rpartition(":")[2])), host))
        except OSError:
            # A port below 1024: that one is reached through the proxy only.
            continue
    parent = os.getpid()
    if os.fork():
        for fd, _host in doors:
            os.close(fd)
        return
    _libc().prctl(1, 9, 0, 0, 0)  # SIGKILL when the worker dies
    if os.getppid() != parent:
        os._exit(0)
    # The worker's streams are not ours: their end must be seen.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    import threading

    for fd, host in doors[1:]:
        threading.Thread(target=_serve, args=(fd, host, path), daemon=True).start()
    _serve(doors[0][0], "", path)


def _listen(port: int) -> int:
    import _socket

    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener.detach()


def _serve(fd: int, host: str, path: str) -> None:
    import socket
    import threading

    listener = socket.socket(fileno=fd)
    while True:
        client, _address = listener.accept()
        threading.Thread(target=_connect, args=(client, host, path), daemon=True).start()


def _connect(client: socket.socket, host: str, path: str) -> None:
    import socket
    import threading

    out = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        out.connect(path)
        if host:
            out.sendall(f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())
            said = b""
            while b"\r\n\r\n" not in said:
                piece = out.recv(1)
                if not piece:
                    raise OSError("the proxy closed")
                said += piece
            if b" 200 " not in said:
                raise OSError("refused")
    except OSError:
        client.close()
        out.close()
        return
    threading.Thread(target=_copy, args=(client, out), daemon=True).start()
    _copy(out, client)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(1)
    except OSError:
        for end in (source, target):
            try:
                end.shutdown(2)
            except OSError:
                pass


def main(argv: list[str]) -> None:
    """Set up, then become the worker."""
    try:
        if argv[1] in ("landlock", "nono"):
            import json

            if sys.platform == "linux":
                drop_capabilities()
            (restrict if argv[1] == "landlock" else restrict_by_nono)(**json.loads(argv[2]))
        else:
            port, path, *hosts = argv[2].split("\n")
            relay(int(port), path, hosts)
        os.execvp(argv[3], argv[3:])  # noqa: S606 - the worker takes the place of this program
    except OSError as error:
        os.write(2, f"sandbox: {error}\n".encode())
        os._exit(125)


if __name__ == "__main__":
    main(sys.argv)
