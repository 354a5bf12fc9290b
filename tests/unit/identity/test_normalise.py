"""One spelling per value; what cannot be a value of its kind identifies nobody; nothing a source sends breaks it."""

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchyard.api.errors import ConfigError
from switchyard.identity.normalise import blocked, normalised

KINDS = ("email", "phone", "loyalty_card", "source_key", "cookie")
REGIONS = ("US", "FR", "DE", "GB", "IT", "AU", "BR")


def one(kind, value, region=None):
    return normalised(kind, pa.chunked_array([pa.array([value], pa.string())]), region, "crm")[0].as_py()


def many(kind, values, region=None):
    return normalised(kind, pa.chunked_array([pa.array(values, pa.string())]), region, "crm").to_pylist()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ann@x.org", "ann@x.org"),
        ("  Ann@X.Org \n", "ann@x.org"),
        ("ann+tag@x.co.uk", "ann+tag@x.co.uk"),
        ("o'neil@x.org", "o'neil@x.org"),
        ("ann@münchen.de", "ann@münchen.de"),
        ("ÉLISE@x.org", "élise@x.org"),
        ("a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de"),
        ("", None),
        ("   ", None),
        (None, None),
        ("ann", None),
        ("ann@", None),
        ("@x.org", None),
        ("ann@x", None),
        ("ann@x.", None),
        ("ann@.org", None),
        ("ann@-x.org", None),
        ("ann@x-.org", None),
        ("ann@x-y.org", "ann@x-y.org"),
        ("ann@x_y.org", None),
        ("ann@x..org", None),
        ("ann@b@x.org", None),
        ("ann b@x.org", None),
        ("ann@x.org, bob@x.org", None),
        ("Ann <ann@x.org>", None),
        ("a" * 310 + "@x.example", "a" * 310 + "@x.example"),
        ("a" * 311 + "@x.example", None),
        ("a\0b@x.org", None),
        ("ann\u200b@x.org", None),
    ],
)
def test_emails(given, expected):
    assert one("email", given) == expected


@pytest.mark.parametrize(
    ("given", "region", "expected"),
    [
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("0033 6 12 34 56 78", "FR", "+33612345678"),
        ("+33 (0)6 12 34 56 78", "FR", "+33612345678"),
        ("+33612345678", None, "+33612345678"),
        ("+33612345678", "US", "+33612345678"),
        ("0612345678", None, None),
        ("0000000000", "FR", None),
        ("112", "FR", None),
        ("(212) 555-0123", "US", "+12125550123"),
        ("1-212-555-0123", "US", "+12125550123"),
        ("011 33 6 12 34 56 78", "US", "+33612345678"),
        ("02 1234 5678", "IT", "+390212345678"),
        ("+39 02 1234 5678", "DE", "+390212345678"),
        ("no phone", "FR", None),
        ("", "FR", None),
        (None, "FR", None),
    ],
)
def test_phones(given, region, expected):
    assert one("phone", given, region) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ab-12 34", "AB1234"),
        (" 0012 ", "0012"),
        ("--", None),
        ("", None),
        (None, None),
    ],
)
def test_a_card_is_one_however_it_is_written(given, expected):
    assert one("loyalty_card", given) == expected


@pytest.mark.parametrize(
    ("given", "expected"), [(" aB-12 34 ", "aB-12 34"), ("--", "--"), ("", None), ("  ", None), (None, None)]
)
def test_an_id_of_another_kind_is_taken_as_it_is(given, expected):
    assert one("cookie", given) == expected


def test_a_source_key_is_a_connections_own():
    assert one("source_key", " 17 ") == "crm/17"
    assert one("source_key", "") is None


def test_an_unknown_region_says_so():
    with pytest.raises(ConfigError, match="'XX' is no country"):
        one("phone", "0612345678", "XX")


def reference(text, region):
    """What the phonenumbers library makes of it."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@st.composite
def spelled_numbers(draw):
    """A region, and a number in one of the spellings people use there: right ones, and near misses."""
    region = draw(st.sampled_from(REGIONS))
    kinds = (
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE,
        phonenumbers.PhoneNumberType.TOLL_FREE,
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.SHARED_COST,
        phonenumbers.PhoneNumberType.UAN,
    )
    of = draw(st.sampled_from((region, region, region, *REGIONS)))
    example = phonenumbers.example_number_for_type(of, draw(st.sampled_from(kinds)))
    if example is None:
        example = phonenumbers.example_number(of)
    digits = phonenumbers.national_significant_number(example)
    tail = draw(st.integers(0, 5))
    digits = digits[: len(digits) - tail] + "".join(
        draw(st.lists(st.sampled_from("0123456789"), min_size=tail, max_size=tail))
    )
    digits = draw(st.sampled_from((digits, digits, digits, digits + "1", digits[:-1])))
    trunk = draw(st.sampled_from(("", "0", "1", "8", "00")))
    code = str(example.country_code)
    prefix = draw(
        st.sampled_from((trunk, trunk, f"+{code}", f"+{code} ", f"00{code}", f"011{code}", code, f"+{code}(0)"))
    )
    separator = draw(st.sampled_from(("", " ", "-", ".", "/", "  ")))
    cut = draw(st.integers(1, max(1, len(digits) - 1)))
    body = digits[:cut] + separator + digits[cut:]
    wrapped = draw(
        st.sampled_from((f"{prefix}{body}", f"{prefix} {body}", f"({prefix}{digits[:cut]}){separator}{digits[cut:]}"))
    )
    return region, wrapped


@settings(max_examples=600, deadline=None)
@given(spelled_numbers())
def test_the_vectorised_path_says_what_the_library_says(spelled):
    region, text = spelled
    assert one("phone", text, region) == reference(text.strip(), region)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), min_size=1, max_size=6), st.sampled_from(KINDS))
@example(["\0", "ſ@x.org", "İ@x.org", "ẞ", "ǰ"], "email")
@example(["ß-1", "ŉ 2", "ﬁ"], "loyalty_card")
def test_any_text_has_one_spelling_which_is_its_own(texts, kind):
    once = many(kind, texts, "FR")
    assert len(once) == len(texts)
    assert all(value is None or value.strip() for value in once)
    if kind != "source_key":
        again = many(kind, once, "FR")
        assert again == once


@settings(max_examples=200, deadline=None)
@given(spelled_numbers())
def test_a_normalised_number_stays_what_it_is(spelled):
    region, text = spelled
    once = one("phone", text, region)
    assert one("phone", once, region) == once
    assert once is None or one("phone", once, None) == once


def block(kind, values, listed=(), region="FR"):
    column = normalised(kind, pa.chunked_array([pa.array(values, pa.string())]), region, "crm")
    return blocked(kind, column, listed, region, "crm").to_pylist()


def test_what_people_type_where_they_have_nothing_identifies_nobody():
    assert block("email", ["Test@Test.com", "none@none.com", "ann@x.org"]) == [None, None, "ann@x.org"]
    assert block("loyalty_card", ["000-000", "n/a", "NULL", "0007"]) == [None, None, None, "0007"]
    assert block("phone", ["0000000000", "06 12 34 56 78"]) == [None, "+33612345678"]


def test_listed_values_are_blocked_in_any_spelling():
    assert block("email", ["BOSS@x.org", "ann@x.org"], ["boss@X.org"]) == [None, "ann@x.org"]
    assert block("phone", ["+33140000001", "+33140000002"], ["01 40 00 00 01"]) == [None, "+33140000002"]
    assert block("loyalty_card", ["AB-1", "AB2"], ["ab 1"]) == [None, "AB2"]
    assert block("source_key", ["17", "18"], ["17"]) == [None, "crm/18"]
