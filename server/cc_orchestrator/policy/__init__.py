"""What a worker may do. Deciding is pure and takes no time from the clock."""
