"""What afterwrite decides: pure functions and values. No I/O, clock, randomness, environment or threads."""
