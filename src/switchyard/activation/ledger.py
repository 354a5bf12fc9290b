"""What one delivery knows of its members while it goes on."""

from collections.abc import Collection, Mapping

import pyarrow as pa

from switchyard.activation.members import LISTED, REJECTED, RETRY, SAME_RECORD, SCHEMA, SENT
from switchyard.api.sinks import ListReceipt


class Ledger:
    """What one delivery knows of its members, brought up to date by every receipt."""

    def __init__(self, members: pa.Table, digests: Mapping[int, str]) -> None:
        self.rows = {row["profile_id"]: row for row in members.to_pylist()}
        owners = (row for row in self.rows.values() if row["code"] != SAME_RECORD)
        self._owner = {row["remote_id"]: row["profile_id"] for row in owners if row["remote_id"]}
        self._digests = digests

    def sending(self, upserts: Collection[int], adds: Collection[int]) -> pa.Table:
        """Rows for members that are about to be sent: until a receipt comes, the outcome is unknown.

        A member already on the list stays so, with its fields in doubt.
        """
        for profile in upserts:
            row = self.rows.setdefault(profile, {"profile_id": profile, "remote_id": None, "state": SENT})
            row |= {"digest": "", "code": None, "reason": None}
        for profile in adds:
            self.rows[profile]["state"] = SENT
        return self._table({*upserts, *adds})

    def confirm(self, receipt: ListReceipt) -> tuple[pa.Table, list[int]]:
        """Take a receipt in: the rows it changes, and the members it confirms to be gone."""
        changed: set[int] = set()
        for key, remote_id in receipt.upserted.items():
            if key.isdecimal():
                self._upserted(int(key), remote_id)
                changed.add(int(key))
        for key in receipt.added:
            if key.isdecimal() and self.rows[int(key)]["state"] != REJECTED:
                self.rows[int(key)] |= {"state": LISTED, "code": None, "reason": None}
                changed.add(int(key))
        for key, refusal in receipt.rejected.items():
            if key.isdecimal() and int(key) in self.rows:
                state = RETRY if refusal.retryable else REJECTED
                # A refusal for good stands until the fields change; one worth another try is sent again whole.
                digest = self._digests.get(int(key), "") if state == REJECTED else ""
                if state == REJECTED and self.rows[int(key)]["state"] == LISTED:
                    # New fields were refused; the place on the list is not in question.
                    state = LISTED
                self.rows[int(key)] |= {
                    "state": state,
                    "digest": digest,
                    "code": refusal.code,
                    "reason": refusal.reason,
                }
                changed.add(int(key))
        gone = [int(key) for key in receipt.removed if key.isdecimal() and int(key) in self.rows]
        for profile in gone:
            del self.rows[profile]
        return self._table(changed - set(gone)), gone

    def forget(self, profiles: Collection[int]) -> None:
        """Members who have no place on the list any more."""
        for profile in profiles:
            self.rows.pop(profile, None)

    def refused(self, among: Collection[int]) -> set[int]:
        """Those of these people whom the vendor refused for good."""
        return {profile for profile in among if (row := self.rows.get(profile)) and row["state"] == REJECTED}

    def remote_ids(self) -> set[str]:
        """The vendor's ids of everybody the hub knows."""
        return {row["remote_id"] for row in self.rows.values() if row["remote_id"]}

    def _upserted(self, profile: int, remote_id: str) -> None:
        row = self.rows[profile]
        owner = self._owner.setdefault(remote_id, profile)
        if owner != profile and owner in self.rows and owner in self._digests:
            # Two people of ours are one record over there, by an address the vendor knows and we do not.
            reason = f"the vendor keeps one record, {remote_id}, for this profile and profile {owner}"
            refusal = {"state": REJECTED, "digest": self._digests[profile], "code": SAME_RECORD, "reason": reason}
            row |= refusal | {"remote_id": remote_id}
            return
        self._owner[remote_id] = profile
        row |= {"remote_id": remote_id, "digest": self._digests[profile]}

    def _table(self, profiles: Collection[int]) -> pa.Table:
        return pa.Table.from_pylist([self.rows[profile] for profile in sorted(profiles)], schema=SCHEMA)
