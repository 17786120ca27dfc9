"""Profiles: customers in a table, and the systems that have to hear of their changes."""
