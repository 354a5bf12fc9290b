"""Transforms that come with the hub, registered through the same door as a stranger's."""
