#!/usr/bin/env bash
# Registers cc-orchestrator with Codex and Claude Code: shows the changes, asks, keeps copies. See --help.
#   install/install.sh [--client codex|claude] [--dry-run] [--yes] [--uninstall] [--copy-skill] [--codex-approval MODE]
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
python=$("$here/venv.sh")
exec "$python" "$here/register.py" "$@"
