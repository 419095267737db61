"""This interpreter as one word of a command line: its path may hold a blank."""

from __future__ import annotations

import shlex
import sys

PYTHON = shlex.quote(sys.executable)
