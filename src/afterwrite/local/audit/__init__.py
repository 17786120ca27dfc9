"""Audit logs: hash-chained files that nobody can change unseen.

`segments` is the format, as bytes; `files` appends and reads; `digests` signs what there is, with `keys`, and `anchors`
keeps that elsewhere; `sealing` encrypts what can be forgotten; `logs` is the engine's Sink. `verification` names the
`faults` of a log, and `history` reads an item's life out of it.
"""
