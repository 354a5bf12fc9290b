"""Plugins: found, loaded, and registered by what they contribute."""

from switchyard.plugins.manager import Broken, Owner, Plugins, load_plugins
from switchyard.plugins.registry import Family, Owned, Registry

__all__ = ["Broken", "Family", "Owned", "Owner", "Plugins", "Registry", "load_plugins"]
