#!/usr/bin/env bash
# Installs the test tools into .venv (once) and runs the tests; more arguments go to pytest.
#   bash tests/run.sh [PYTEST ARGUMENTS]
# With npm on PATH the pinned Claude Code, Codex and MCP Inspector are installed into .cli/ first (about 1 GB, once);
# CC_TEST_NO_CLIS=1 leaves that out. Without them the tests that need them do not run, and the last lines say which.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
python=$("$root/install/venv.sh" --dev)
cd -- "$root"
if [ -z "${CC_TEST_NO_CLIS:-}" ] && command -v npm >/dev/null 2>&1; then
  "$python" tests/kit/clis.py install ||
    echo "the pinned CLIs could not be installed: tests that need them will not run" >&2
fi
# A folder of its own: sessions that run side by side would clean up in each other's.
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
PYTEST_DEBUG_TEMPROOT=$scratch "$python" -m pytest -q -n auto "$@"
