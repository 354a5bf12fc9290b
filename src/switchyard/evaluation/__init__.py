"""Runs profile transforms over profiles and history, and commits who entered and who left."""
