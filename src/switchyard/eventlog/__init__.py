"""The event log: everything big and immutable, in Parquet files that count once the store's catalogue names them."""
