"""cc-orchestrator: hands bounded work to coding CLIs, watches them, proves their work and accepts it."""

__version__ = "0.1.0"
