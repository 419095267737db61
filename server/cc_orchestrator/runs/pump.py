"""One stream of the worker: bytes → mask → raw file → lines. The raw file is safe to keep, because masking comes first."""

from __future__ import annotations

import os

from cc_orchestrator.core.redact import Fragment, Line, Masker

_READ = 1 << 16


class Pump:
    """Reads a non-blocking descriptor. `keep` false stops writing the raw file (over budget, or final answer only)."""

    def __init__(self, name: str, fd: int, raw_path: str, masker: Masker) -> None:
        self.name = name
        self.fd = fd
        self.keep = True
        self.open = True
        self.kept_bytes = 0
        self.dropped_bytes = 0
        self.failed = False
        self._masker = masker
        self._seen: dict[str, int] = {}
        self._raw = os.open(raw_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)

    def read(self) -> list[Line | Fragment]:
        """What came in, masked and written; sets `open` false at the end of the stream."""
        try:
            data = os.read(self.fd, _READ)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        pieces = self._masker.feed(data) if data else self._masker.flush()
        if not data:
            self.open = False
        self._write(pieces)
        return pieces

    def unfinished(self) -> bytes:
        """The line that has not ended, masked, where it is as short as a prompt."""
        return self._masker.unfinished()

    def masked_since(self) -> dict[str, int]:
        """Kinds and counts masked since the last call."""
        fresh = {kind: count - self._seen.get(kind, 0) for kind, count in self._masker.counts.items()}
        self._seen = dict(self._masker.counts)
        return {kind: count for kind, count in fresh.items() if count}

    def _write(self, pieces: list[Line | Fragment]) -> None:
        parts = [piece.masked + b"\n" if isinstance(piece, Line) or piece.last else piece.masked for piece in pieces]
        # Pieces of a long line are not put together again: that would be one more copy of it.
        whole = all(isinstance(piece, Line) for piece in pieces)
        for data in (b"".join(parts),) if whole else parts:
            self._write_all(memoryview(data))

    def _write_all(self, view: memoryview) -> None:
        if not self.keep or self.failed:
            self.dropped_bytes += len(view)
            return
        try:
            while view:
                done = os.write(self._raw, view)
                self.kept_bytes += done
                view = view[done:]
        except OSError:
            # No room: the journal's own failure ends the run; here nothing more can be done.
            self.failed = True
            self.dropped_bytes += len(view)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._raw)
        os.close(self.fd)


class Feed:
    """The worker's stdin: bytes go out as the pipe takes them; `finish` closes it once all is written."""

    def __init__(self, fd: int | None) -> None:
        self.fd = fd
        self._pending = bytearray()
        self._finishing = False

    @property
    def waiting(self) -> bool:
        """Whether bytes wait for the pipe."""
        return self.fd is not None and bool(self._pending)

    @property
    def usable(self) -> bool:
        """Whether something can still be said."""
        return self.fd is not None and not self._finishing

    def send(self, data: bytes) -> None:
        """Queue bytes and write what goes."""
        if self.usable:
            self._pending += data
            self.flush()

    def finish(self) -> None:
        """Close once everything is written."""
        self._finishing = True
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes. A worker that closed its end loses the rest."""
        if self.fd is None:
            return
        try:
            while self._pending:
                done = os.write(self.fd, memoryview(self._pending)[:_READ])
                del self._pending[:done]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if self._finishing:
            self.close()

    def close(self) -> None:
        """Close now."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
            self._pending.clear()
