"""What we know of each CLI: argv in, bytes in, facts out. An adapter never writes run files."""
