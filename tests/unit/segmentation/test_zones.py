from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import ibis
import pyarrow as pa
import pytest

from switchyard_plugins.segmentation import zones


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"])
def test_midnights_agree_with_the_zone_table(zone: str) -> None:
    days = [date(1970, 1, 1) + timedelta(days=13 * n) for n in range(2_000)]
    days += [date(2026, 3, 28) + timedelta(days=n) for n in range(3)]
    table = ibis.memtable(pa.table({"day": pa.array(days, pa.date32())}))
    found = table.select(at=zones.midnight(table.day, zone)).to_pyarrow().column("at").to_pylist()
    midnights = [datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)) for day in days]
    assert found == [at.astimezone(ZoneInfo("UTC")).replace(tzinfo=None) for at in midnights]


def test_a_local_time_shown_twice_is_the_first() -> None:
    assert zones.instant(datetime(2026, 10, 25, 2, 30), "Europe/Paris") == datetime(2026, 10, 25, 0, 30)
