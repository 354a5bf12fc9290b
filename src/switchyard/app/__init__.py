"""The composition root: a project opened, its parts wired, one function per command."""
