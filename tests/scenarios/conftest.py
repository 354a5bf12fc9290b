"""Every scenario's stores are checked for what must hold in all of them."""

from tests.projects import invariants

__all__ = ["invariants"]
