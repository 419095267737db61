"""Accepts and merges what was verified."""
