"""Generated reference tables, and the check that they are fresh."""
