#!/usr/bin/env bash
# Installs cc-orchestrator into .venv (once) and shows one supervised run from start to delivery.
#   bash examples/01-first-run/run.sh [--worker fake|claude|codex] [--keep]
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
python=$("$here/../../install/venv.sh")
exec "$python" "$here/first_run.py" "$@"
