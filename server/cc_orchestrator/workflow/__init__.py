"""Drives many runs: reviews and fix loops. What they mean is judged in `verify`."""
