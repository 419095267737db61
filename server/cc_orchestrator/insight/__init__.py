"""Reads everything, writes only reports."""
