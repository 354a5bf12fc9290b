"""The fields of leads: which there are, which can be written, by which leads are found."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from switchyard.api import PermanentError, RemoteList
from switchyard_connectors.marketo.client import Marketo

_log = logging.getLogger(__name__)
NEVER_CHANGED = frozenset({"id", "createdAt", "updatedAt"})
"""Fields that Marketo always has, and of whose changes it keeps no record."""


class Schema:
    """Knows the fields, by one call for all questions."""

    def __init__(self, marketo: Marketo) -> None:
        self._marketo = marketo
        self._found: Mapping[str, Any] | None = None
        self._fine: set[tuple[str, ...]] = set()

    def ensure(self, wanted: RemoteList) -> None:
        """Make sure that the fields can be written. Nothing is asked where there is only an address to write.

        No field is created: Marketo never lets go of one again.

        Raises:
            PermanentError: a field is not there or read-only, or leads cannot be found by the key field.
        """
        names = (wanted.key_field, *wanted.fields)
        if set(names) == {"email"} or names in self._fine:
            return
        found = self._described()
        fields = {str(each.get("name")): each for each in found.get("fields") or ()}
        if missing := sorted(set(names) - fields.keys()):
            raise PermanentError(
                f"Marketo has no lead field {', '.join(missing)}; create it in Marketo (admin, field management) or "
                "take it out of the audience's fields"
            )
        fixed = sorted(name for name in set(names) if fields[name].get("updateable") is False)
        if fixed:
            raise PermanentError(
                f"Marketo sets the lead fields {', '.join(fixed)} itself; take them out of the audience"
            )
        if [wanted.key_field] not in [list(each) for each in found.get("searchableFields") or ()]:
            raise PermanentError(f"Marketo cannot find leads by {wanted.key_field!r}, so it cannot be the key")
        self._fine.add(names)

    def there(self, names: Sequence[str]) -> list[str]:
        """Those of the names that are fields. One that is none any more ends no reading, and is told in the log."""
        known = {str(each.get("name")) for each in self._described().get("fields") or ()} | NEVER_CHANGED
        if missing := [name for name in names if name not in known]:
            _log.warning("Marketo has no lead field %s; look at fields and changes", ", ".join(missing))
        return [name for name in names if name in known]

    def are_scores(self, names: Sequence[str]) -> bool:
        """Whether one of the fields is a score: its changes are activities of their own."""
        kinds = {str(each.get("name")): each.get("dataType") for each in self._described().get("fields") or ()}
        return any(kinds.get(name) == "score" for name in names)

    def _described(self) -> Mapping[str, Any]:
        if self._found is None:
            result = self._marketo.get("/rest/v1/leads/describe2.json").result
            if not result:
                raise PermanentError("Marketo does not describe its leads; look at the API user's permissions")
            self._found = result[0]
        return self._found
