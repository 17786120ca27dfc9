"""A leaderboard: a view of the scores table in Redis, one board a day and one of all time."""
