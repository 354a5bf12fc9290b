"""Which groups of records an expression fails on: they are refused, and the other groups go on."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from switchyard.api.records import Reject
from switchyard.config.mapping import EventMapping
from switchyard.pipeline.mapping import GroupFailed, Mapped, Mapper
from switchyard.pipeline.records import ROW, SOURCE, describe

Integers = NDArray[np.int64]


def without_failing_groups(mapper: Mapper, mapped: Mapped) -> Mapped:
    """The pages without the records of groups of which no event can be made; these are refused."""
    page = mapped.page.take(mapped.records[ROW])
    failed: dict[int, str] = {}
    for event in mapper.plan.grouped.values():
        failed |= _failing(mapper, event, page, mapper.groups(event, page))
    rejects: list[list[Reject]] = [list(each) for each in mapped.rejects]
    for row, reason in failed.items():
        record = mapped.page.slice(row, 1)
        rejects[record[SOURCE][0].as_py()] += describe(
            record, "bad_group", f"the mapping fails on the records of its group: {reason}"
        )
    kept = pc.invert(pc.is_in(mapped.records[ROW], value_set=pa.array(failed, pa.int64())))
    return replace(mapped, records=mapped.records.filter(kept), rejects=rejects)


def _failing(mapper: Mapper, event: EventMapping, page: pa.Table, groups: Integers) -> dict[int, str]:
    """Rows of the groups that fail, with the reason; found by halving the groups until those at fault stand alone."""
    try:
        mapper.items(event, page)
        mapper.grouped(event, page)
    except GroupFailed as error:
        distinct = np.unique(groups)
        if len(distinct) == 1:
            return dict.fromkeys(page[ROW].to_pylist(), str(error))
    else:
        return {}
    first = groups < distinct[len(distinct) // 2]
    return _failing(mapper, event, page.filter(pa.array(first)), groups[first]) | _failing(
        mapper, event, page.filter(pa.array(~first)), groups[~first]
    )
