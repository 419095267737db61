"""Units of requested work; every run belongs to one."""
