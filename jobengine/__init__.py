"""A PostgreSQL job engine: the rules live in SQL functions, Python calls them."""
