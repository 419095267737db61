"""The bundled worker: a program of its own, not a room. It imports nothing of ours, and no room imports it."""
