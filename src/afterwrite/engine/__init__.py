"""The imperative shell: loops over the ports. Every decision they follow is the core's."""
