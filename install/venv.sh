#!/usr/bin/env bash
# Makes .venv beside the checkout's README and installs cc-orchestrator in it; does nothing when that is done.
#   install/venv.sh [--dev]      prints the path of its Python on stdout, everything else on stderr
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
wanted='.'; stamp=base
if [ "${1:-}" = --dev ]; then wanted='.[dev]'; stamp=dev; fi
venv=$root/.venv
python=$venv/bin/python

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
    if command -v "$name" >/dev/null 2>&1 &&
      "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  echo "error: no Python 3.10 or newer on PATH" >&2
  return 1
}

command -v git >/dev/null || { echo "error: git is not on PATH" >&2; exit 1; }
if [ ! -x "$python" ]; then
  base=$(find_python)
  echo "making $venv with $("$base" --version)" >&2
  "$base" -m venv "$venv" >&2 || {
    echo "error: $base cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2
    rm -rf -- "$venv"
    exit 1
  }
fi
# One sum over what decides the installation: done already, nothing to do.
sum=$stamp-$(cksum <"$root/pyproject.toml" | tr ' ' -)
have=$(cat "$venv/.cc-installed" 2>/dev/null || true)
if [ "$have" != "$sum" ] && [ "$have" != "dev-${sum#*-}" ]; then
  echo "installing cc-orchestrator into .venv (pip)" >&2
  (cd -- "$root" && "$python" -m pip install --quiet --disable-pip-version-check -e "$wanted") >&2
  echo "$sum" >"$venv/.cc-installed"
fi
echo "$python"
