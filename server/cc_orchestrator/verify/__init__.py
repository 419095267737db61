"""Is the work acceptable? Never starts workers."""
