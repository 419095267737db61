"""The one table that picks a surface. Imports happen here, inside, so that each surface pays for itself only."""

from __future__ import annotations

import sys


def main() -> int:
    """`cc-orchestrator mcp …` is the door, `engine` serves a workspace's queue; everything else is the command line."""
    argv = sys.argv[1:]
    if argv[:1] == ["mcp"]:
        from cc_orchestrator.surfaces.mcp.server import main as serve

        return serve(argv[1:])
    if argv[:1] == ["engine"]:
        from cc_orchestrator.operations.engine import command

        return command(argv[1:])
    from cc_orchestrator.surfaces.cli.main import main as run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
