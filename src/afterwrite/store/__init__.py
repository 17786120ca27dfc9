"""The durable store on LMDB: items and change log, durable queues, the ledger, the archive, expiry."""
