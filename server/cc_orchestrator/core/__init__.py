"""Words without I/O: ids, errors, events, states, clock, text, redaction. Standard library only."""
