"""What a fault leaves is checked for what must hold in every store."""

from tests.projects import invariants

__all__ = ["invariants"]
