"""MangaAssist: a chat backend whose summaries, notifications and records follow from its table's changes."""
