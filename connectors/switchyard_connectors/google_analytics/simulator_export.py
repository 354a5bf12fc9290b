"""Files as the BigQuery export has them, of what people did at the simulated property."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from switchyard_connectors.google_analytics.simulator_events import Events

Format = Literal["parquet", "json"]


def export_day(events: Events, folder: Path, day: str, form: Format = "parquet", *, intraday: bool = False) -> Path:
    """Write a day's events that have arrived.

    Args:
        events: the property's.
        folder: where to.
        day: ISO.
        form: as BigQuery writes it: Parquet, or JSON lines in which whole numbers are texts.
        intraday: whether it is the table of the day's stream.

    Returns: the file, under its final name once it is whole.
    """
    name = f"events_{'intraday_' if intraday else ''}{day.replace('-', '')}.{form}"
    part = folder / f".{name}.part"
    whole = "BIGINT" if form == "parquet" else "VARCHAR"
    query = _ROWS.format(day=day, whole=whole)
    how = "FORMAT parquet, ROW_GROUP_SIZE 20000" if form == "parquet" else "FORMAT json"
    events.run(f"COPY ({query}) TO '{str(part).replace(chr(39), 2 * chr(39))}' ({how})")
    part.replace(folder / name)
    return folder / name


_NOTHING = "CAST(NULL AS VARCHAR)"


def _param(key: str, text: str = _NOTHING, whole: str = "NULL", number: str = "NULL") -> str:
    value = (
        f"{{'string_value': {text}, 'int_value': CAST({whole} AS {{whole}}), "
        f"'float_value': CAST(NULL AS DOUBLE), 'double_value': CAST({number} AS DOUBLE)}}"
    )
    return f"{{'key': '{key}', 'value': {value}}}"


# Braces are doubled where they are SQL's: `day` and `whole` are put in.
def _escaped(sql: str) -> str:
    return sql.replace("{", "{{").replace("}", "}}").replace("{{whole}}", "{whole}").replace("{{day}}", "{day}")


_PARAMS = ", ".join(
    (
        _param("page_location", "'https://shop.example' || page"),
        _param("page_title", "'Page ' || page"),
        _param("ga_session_id", whole="session"),
        _param("engagement_time_msec", whole="seq % 1000"),
        _param("source", "source"),
        _param("medium", "medium"),
        _param("campaign", "campaign"),
    )
)
_VALUED = ", ".join(
    (
        _param("currency", "'EUR'"),
        _param("value", number="value"),
        _param("transaction_id", "transaction_id"),
    )
)
_ITEM = """{'item_id': 'SKU' || (seq % 20), 'item_name': 'Thing ' || (seq % 20), 'item_brand': '(not set)',
    'item_variant': '(not set)', 'item_category': 'things', 'price': CAST(value AS DOUBLE),
    'quantity': CAST(1 AS {whole}), 'item_revenue': CAST(value AS DOUBLE), 'coupon': '(not set)'}"""

_ROWS = _escaped(
    f"""
    SELECT strftime(day, '%Y%m%d') AS event_date, CAST(us AS {{whole}}) AS event_timestamp, name AS event_name,
        list_concat([{_PARAMS}], CASE WHEN name = 'purchase' THEN [{_VALUED}] ELSE [] END) AS event_params,
        CAST(NULL AS {{whole}}) AS event_previous_timestamp, CAST(seq AS {{whole}}) AS event_bundle_sequence_id,
        CASE WHEN consent THEN user_id END AS user_id, CASE WHEN consent THEN client_id END AS user_pseudo_id,
        {{'analytics_storage': CASE WHEN consent THEN 'Yes' ELSE 'No' END,
         'ads_storage': CASE WHEN consent THEN 'Yes' ELSE 'No' END,
         'uses_transient_token': CASE WHEN consent THEN 'No' ELSE 'Yes' END}} AS privacy_info,
        [{_param("tier", "'gold'")}] AS user_properties,
        {{'category': device, 'operating_system': 'Linux', 'language': 'de-at'}} AS device,
        {{'city': city, 'country': country, 'region': ''}} AS geo,
        {{'name': campaign, 'medium': medium, 'source': source}} AS traffic_source,
        '1234567' AS stream_id, 'WEB' AS platform,
        {{'total_item_quantity': CASE WHEN transaction_id IS NOT NULL THEN CAST(1 AS {{whole}}) END,
         'purchase_revenue': CASE WHEN transaction_id IS NOT NULL THEN CAST(value AS DOUBLE) END,
         'transaction_id': coalesce(transaction_id, '(not set)')}} AS ecommerce,
        CASE WHEN name IN ('view_item', 'add_to_cart', 'begin_checkout', 'purchase') THEN [{_ITEM}] ELSE [] END
            AS items,
        CAST(1 AS {{whole}}) AS batch_event_index
    FROM seen WHERE day = DATE '{{day}}' ORDER BY seq
    """  # noqa: S608  # expressions of our own
)
