"""The one way out of a sandbox without a network: CONNECT to named hosts, all else refused. Runs outside, beside the supervisor.

A program of its own, standard library only: `sandbox_proxy.py FD HOST:PORT…`, with a listening Unix socket at FD. It ends with
its standard input, which the supervisor holds.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

_MOST_HEADER = 8_192
_CONNECT_SECONDS = 20.0


def allowed(target: str, hosts: frozenset[str]) -> tuple[str, int] | None:
    """`target` as host and port if it is one of `hosts`; never a part of a name, never another port."""
    host, _, port = target.lower().rpartition(":")
    if f"{host}:{port}" not in hosts or not port.isdigit():
        return None
    return host.strip("[]"), int(port)


def _header(client: socket.socket) -> str:
    said = b""
    while b"\r\n\r\n" not in said and len(said) < _MOST_HEADER:
        # One byte at a time: what follows the header is not ours. A request has a few hundred.
        piece = client.recv(1)
        if not piece:
            break
        said += piece
    return said.decode("latin-1")


def _serve(client: socket.socket, hosts: frozenset[str]) -> None:
    with client:
        try:
            client.settimeout(_CONNECT_SECONDS)
            words = _header(client).split("\r\n", 1)[0].split(" ")
            target = allowed(words[1], hosts) if len(words) == 3 and words[0] == "CONNECT" else None
            if target is None:
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nX-Sandbox: host not allowed\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(target, _CONNECT_SECONDS) as out:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                client.settimeout(None)
                out.settimeout(None)
                other = threading.Thread(target=_copy, args=(client, out), daemon=True)
                other.start()
                _copy(out, client)
                other.join()
        except OSError:
            return


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def _accept(listener: socket.socket, hosts: frozenset[str]) -> None:
    while True:
        client, _address = listener.accept()
        threading.Thread(target=_serve, args=(client, hosts), daemon=True).start()


def main(argv: list[str]) -> None:
    """Serve until nobody holds our input any more."""
    hosts = frozenset(host.lower() for host in argv[2:])
    listener = socket.socket(fileno=int(argv[1]))
    threading.Thread(target=_accept, args=(listener, hosts), daemon=True).start()
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
