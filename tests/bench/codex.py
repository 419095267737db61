"""What a run of the real Codex costs on each of its two ways, against a model that answers at once: time to the first word, whole run, memory."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from cc_orchestrator.adapters.base import Effect
from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core.events import Fact
from bench.table import Row, timed
from kit import clis, homes, memory, repos
from kit.model_stub import ModelStub
from kit.pipes import Driven, drive, request_for
from kit.stub_script import Script, call, say
