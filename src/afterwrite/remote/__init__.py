"""What functions and batches keep on AWS: tables, ledgers, parked lanes."""
