"""Time zones as tills write them: IANA names, those of Windows, and the long ones that Square's exports carry."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

_IANA: Mapping[str, tuple[str, ...]] = {
    "America/New_York": ("Eastern Time (US & Canada)", "Eastern Standard Time", "Eastern Time"),
    "America/Indiana/Indianapolis": ("Indiana (East)", "US Eastern Standard Time"),
    "America/Chicago": ("Central Time (US & Canada)", "Central Standard Time", "Central Time"),
    "America/Denver": ("Mountain Time (US & Canada)", "Mountain Standard Time", "Mountain Time"),
    "America/Phoenix": ("Arizona", "US Mountain Standard Time"),
    "America/Los_Angeles": ("Pacific Time (US & Canada)", "Pacific Standard Time", "Pacific Time"),
    "America/Anchorage": ("Alaska", "Alaskan Standard Time"),
    "Pacific/Honolulu": ("Hawaii", "Hawaiian Standard Time"),
    "America/Puerto_Rico": ("Puerto Rico",),
    "America/Halifax": ("Atlantic Time (Canada)", "Atlantic Standard Time"),
    "America/St_Johns": ("Newfoundland", "Newfoundland Standard Time"),
    "America/Regina": ("Saskatchewan", "Canada Central Standard Time"),
    "Europe/London": ("London", "Edinburgh", "GMT Standard Time"),
    "Europe/Dublin": ("Dublin",),
    "Europe/Paris": ("Paris", "Romance Standard Time"),
    "Europe/Madrid": ("Madrid",),
    "Europe/Brussels": ("Brussels",),
    "Europe/Amsterdam": ("Amsterdam",),
    "Europe/Berlin": ("Berlin", "W. Europe Standard Time"),
    "Europe/Vienna": ("Vienna",),
    "Europe/Zurich": ("Zurich", "Bern"),
    "Europe/Rome": ("Rome",),
    "Asia/Tokyo": ("Tokyo", "Osaka", "Sapporo", "Tokyo Standard Time"),
    "Australia/Sydney": ("Sydney", "Canberra", "AUS Eastern Standard Time"),
    "Australia/Melbourne": ("Melbourne",),
    "Australia/Brisbane": ("Brisbane", "E. Australia Standard Time"),
    "Australia/Hobart": ("Hobart", "Tasmania Standard Time"),
    "Australia/Adelaide": ("Adelaide", "Cen. Australia Standard Time"),
    "Australia/Darwin": ("Darwin", "AUS Central Standard Time"),
    "Australia/Perth": ("Perth", "W. Australia Standard Time"),
    "Pacific/Auckland": ("Auckland", "Wellington", "New Zealand Standard Time"),
    "UTC": ("UTC", "Coordinated Universal Time"),
}
_KNOWN = {name.casefold(): iana for iana, names in _IANA.items() for name in names}


def iana(name: str, more: Mapping[str, str]) -> str | None:
    """The IANA name of a zone, None where nobody knows it.

    Args:
        more: further names and their IANA names, before all others.
    """
    wanted = name.strip()
    found = {known.casefold(): zone for known, zone in more.items()}.get(wanted.casefold())
    found = found or _KNOWN.get(wanted.casefold())
    return found or (wanted if is_iana(wanted) else None)


def is_iana(name: str) -> bool:
    """Whether the machine's time zone database has this name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True
