"""The embedded services, on the durable store: topics, queues, buses, delivery streams, audit logs, functions."""
