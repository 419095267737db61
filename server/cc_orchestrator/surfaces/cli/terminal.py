"""The terminal that the command line was started at: the only place where a passphrase is typed."""

from __future__ import annotations

import getpass
import os
import sys
import warnings


class Terminal:
    """Asks at the controlling terminal itself, whatever stdin is. `notes` are for the answer."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @property
    def interactive(self) -> bool:
        """Whether somebody sits here: stdin and stderr are terminals."""
        return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))

    def note(self, text: str) -> None:
        """Have the answer say so, once."""
        if text not in self.notes:
            self.notes.append(text)

    def ask(self, prompt: str) -> str | None:
        """What is typed, unseen; None without a terminal. Never from stdin, a variable or an argument."""
        if os.name == "nt":
            if not self.interactive:
                return None
        else:
            # getpass falls back to stdin without a controlling terminal: looked at first, it cannot.
            try:
                os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
            except OSError:
                return None
        try:
            with warnings.catch_warnings():
                # A terminal that cannot be made silent would show what is typed.
                warnings.simplefilter("error", getpass.GetPassWarning)
                return getpass.getpass(prompt)
        except (EOFError, OSError, getpass.GetPassWarning):
            return None
