"""The one list of what can be asked."""
