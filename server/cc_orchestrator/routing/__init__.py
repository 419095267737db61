"""Which CLI, model and endpoint serves a run, and why."""
