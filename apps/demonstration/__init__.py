"""What the demonstrations share: an engine and writers as processes, progress, equations and their verdict."""
