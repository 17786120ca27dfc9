"""Lambda's event source mapping on a stream, as a pure state machine: (state, event) -> (state, actions).

It holds to what AWS documents (S1 to S17, docs/facts.md; docs/event-source-mapping.md says which test holds what).
`parameters` are AWS's own, checked; `lane` decides what becomes of one lane's records; `mapping` knows the shards and
their lanes; `responses` reads what a function returned; `failures` words what was given up on.
"""
