"""Accounts with their whole history: event sourcing from the changes of a table."""
