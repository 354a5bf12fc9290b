"""The store's revisions."""
