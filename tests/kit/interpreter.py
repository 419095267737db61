"""This interpreter as one word of a command line: its path may hold a blank."""

from __future__ import annotations

import os
import shlex
import sys

PYTHON = shlex.quote(sys.executable)
#: The one behind a virtual environment: a sandbox shows it wherever the environment lies.
BARE_PYTHON = shlex.quote(os.path.realpath(sys.executable))
