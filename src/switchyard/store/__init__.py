"""The store: all small, mutable truth, in SQLite or PostgreSQL."""
