"""Files that must survive us. Only this room knows paths. Standard library only."""
