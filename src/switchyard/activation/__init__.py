"""Delivers audiences: what is wanted, what the vendor confirmed, the difference, the proof."""
