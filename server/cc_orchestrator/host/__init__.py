"""The operating system: processes, detaching, environment, git. Only this room starts processes."""
