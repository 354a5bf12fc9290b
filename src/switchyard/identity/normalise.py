"""One spelling per identifier value, so that equal things are equal texts. Vectorised: a column in, a column out.

A value that cannot be one of its kind becomes NULL: it identifies nobody.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api.errors import ConfigError

_UNSEEN = r"\s\p{C}\p{Z}"
"""Blanks, controls (NUL, which no store keeps) and invisible characters, as a class of RE2."""
_LETTER = rf"{_UNSEEN}\x00-/:-`{{-\x7f"
_LABEL = rf"[^{_LETTER}](?:(?:[^{_LETTER}]|-)*[^{_LETTER}])?"
_EMAIL = rf"^[^{_UNSEEN}@<>,;:\"()\[\]\\]+@({_LABEL}\.)+{_LABEL}$"
_LONGEST = 320
"""Characters of the longest e-mail address there can be (RFC 3696 erratum 1690: 64 + 1 + 255)."""


def normalised(kind: str, values: pa.ChunkedArray, region: str | None, connection: str) -> pa.ChunkedArray:
    """The values of one identifier kind in their one spelling.

    Args:
        kind: `email`, `phone` (E.164), `loyalty_card` (upper case, no blanks or hyphens), `source_key` (the
            connection's own id of a person, told apart by the connection's name); any other is somebody's id, and
            taken as it is written, but for blanks around it.
        values: texts, NULL where there is none.
        region: the country (ISO 3166) whose rules apply to phone numbers without a country code; None: such
            numbers identify nobody.
        connection: the connection's name.
    """
    trimmed = _emptied(pc.utf8_trim_whitespace(values))
    if kind == "email":
        return _email(trimmed)
    if kind == "phone":
        return _phone(trimmed, region)
    if kind == "source_key":
        return pc.binary_join_element_wise(pa.scalar(connection), trimmed, "/")
    if kind == "loyalty_card":
        return _emptied(pc.replace_substring_regex(pc.utf8_upper(trimmed), rf"[{_UNSEEN}-]+", ""))
    return trimmed


def _emptied(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(pc.binary_length(values), 0), pa.scalar(None, pa.string()), values)


def _email(values: pa.ChunkedArray) -> pa.ChunkedArray:
    lowered = pc.utf8_lower(values)
    fits = pc.and_(pc.match_substring_regex(lowered, _EMAIL), pc.less_equal(pc.utf8_length(lowered), _LONGEST))
    return pc.if_else(fits, lowered, pa.scalar(None, pa.string()))


def _phone(values: pa.ChunkedArray, region: str | None) -> pa.ChunkedArray:
    """Numbers by the patterns of their country, in columns; the rest (extensions, odd prefixes) one by one."""
    unique = pc.unique(values).drop_null()
    if len(unique) == 0:
        return values
    plan = _plan(region) if region else None
    found = _by_plan(unique, plan, plan.exit) if plan else pa.nulls(len(unique), pa.string())
    for abroad in _countries(unique.filter(pc.is_null(found)), plan):
        rest = pc.is_null(found)
        found = pc.replace_with_mask(found, rest, _by_plan(unique.filter(rest), abroad, plan.exit if plan else None))
    rest = pc.is_null(found)
    slow = [_parsed(value, region) for value in unique.filter(rest).to_pylist()]
    return pc.replace_with_mask(found, rest, pa.array(slow, pa.string())).take(pc.index_in(values, unique))


def _by_plan(values: pa.Array, plan: "_Plan", exits: str | None) -> pa.Array:
    """The numbers of one country; NULL for all else.

    Args:
        exits: pattern of the prefix that is dialled from here to go abroad; None where no country is assumed, and
            only numbers with a plus have one.
    """
    digits = pc.replace_substring_regex(values, r"[^\d+]", "")
    abroad = pc.replace_substring_regex(digits, rf"^(?:\+|{exits or '[+]'}){plan.country}", "")
    home = pc.replace_substring_regex(digits, f"^{plan.trunk}", "") if plan.trunk else digits
    here = exits == plan.exit
    number = pc.if_else(pc.equal(abroad, digits), home if here else pa.scalar("", pa.string()), abroad)
    # A number that fits one kind and not the general form is read otherwise: as one with a bare country code.
    patterns = ((values, r"^\+?[\d\s().\-/]+$"), (number, plan.pattern), (number, plan.general))
    spelled, kind, general = (pc.match_substring_regex(texts, pattern) for texts, pattern in patterns)
    fits = pc.and_(pc.and_(spelled, kind), general)
    return pc.if_else(fits, pc.binary_join_element_wise(f"+{plan.country}", number, ""), pa.scalar(None, pa.string()))


def _countries(values: pa.Array, here: "_Plan | None") -> list["_Plan"]:
    """The plans of the countries whose codes these numbers begin with."""
    digits = pc.replace_substring_regex(values, r"[^\d+]", "")
    if here:
        digits = pc.replace_substring_regex(digits, f"^(?:{here.exit})", "+")
    starts = pc.unique(pc.utf8_slice_codeunits(digits, 0, 4)).to_pylist()
    codes = {start[1:end] for start in starts if start[:1] == "+" for end in (2, 3, 4)}
    regions = {code: phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code)) for code in codes if code.isdecimal()}
    # Of several countries with one code, the first is the main one; "001" is none.
    return [_plan(found[0]) for found in regions.values() if found and found[0] != "001"]


def _parsed(value: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@dataclass(frozen=True)
class _Plan:
    """A region's numbering plan: its country code, trunk and exit prefixes, and the patterns of its numbers (RE2)."""

    country: str
    trunk: str
    exit: str
    pattern: str
    general: str


@lru_cache
def _plan(region: str) -> _Plan:
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    if metadata is None or metadata.general_desc is None or metadata.general_desc.national_number_pattern is None:
        raise ConfigError(f"'{region}' is no country with phone numbers; use a code such as US or FR")
    # Every kind of number the region knows, as is_valid_number does: the general pattern alone is wider.
    kinds = (
        metadata.fixed_line,
        metadata.mobile,
        metadata.toll_free,
        metadata.premium_rate,
        metadata.shared_cost,
        metadata.personal_number,
        metadata.voip,
        metadata.pager,
        metadata.uan,
        metadata.voicemail,
    )
    patterns = {kind.national_number_pattern for kind in kinds if kind is not None and kind.national_number_pattern}
    either = "|".join(sorted(re.sub(r"\s", "", pattern) for pattern in patterns))
    general = re.sub(r"\s", "", metadata.general_desc.national_number_pattern)
    return _Plan(
        country=str(metadata.country_code),
        # A trunk prefix that rewrites the number is left to the parser.
        trunk="" if metadata.national_prefix_transform_rule else metadata.national_prefix or "",
        exit=metadata.international_prefix or r"\+",
        pattern=f"^(?:{either})$",
        general=f"^(?:{general})$",
    )


_MEANINGLESS = {
    "email": ("test@test.com", "test@example.com", "none@none.com", "no@no.com", "na@na.com", "noemail@noemail.com"),
    "phone": (),
    "loyalty_card": ("NONE", "NA", "N/A", "NULL", "TEST"),
}


def blocked(
    kind: str, values: pa.ChunkedArray, listed: Sequence[str], region: str | None, connection: str
) -> pa.ChunkedArray:
    """The normalised values without those that people type where they have none, and those the configuration lists."""
    own = normalised(kind, pa.chunked_array([pa.array(listed, pa.string())]), region, connection)
    stops = pa.array([*_MEANINGLESS.get(kind, ()), *own.drop_null().to_pylist()], pa.string())
    meaningless = pc.is_in(values, value_set=stops)
    if kind != "email":
        meaningless = pc.or_kleene(meaningless, pc.match_substring_regex(values, r"^\+?0*$"))
    return pc.if_else(meaningless, pa.scalar(None, pa.string()), values)
