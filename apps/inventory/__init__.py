"""A shop's stock: what follows from each change of the products table."""
