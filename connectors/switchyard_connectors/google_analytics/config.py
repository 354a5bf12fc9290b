"""What a user can say about a Google Analytics property."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, JsonValue, SecretStr, StringConstraints, field_validator, model_validator

from switchyard.api import ConnectorConfig

CONCURRENT = {"standard": 10, "360": 50}
"""Requests under way at once that a property takes (analyticsdata.v1beta, PropertyQuota)."""
DATE = "date"
MAX_DIMENSIONS, MAX_METRICS = 9, 10
MAX_ROWS = 250_000
"""Rows of one answer (analyticsdata.v1beta, RunReportRequest.limit and QueryAudienceExportRequest.limit)."""
OWN_FIELDS = frozenset({"row_id", "report", DATE, "thresholded", "other_row", "sampled"})
"""Fields of a report's record that neither a dimension nor a metric names."""
EVENTS = "events"


def _property_number(value: object) -> str:
    text = str(value).strip() if isinstance(value, int | str) else ""
    if re.match(r"(?i)(G|GT|AW|UA)-", text):
        raise ValueError(
            "that is the id of a data stream; give the property's number (Admin, Property details, Property ID)"
        )
    if not re.fullmatch(r"\d{1,20}", text):
        raise ValueError("give the property's number, such as 123456789")
    return text


PropertyNumber = Annotated[str, BeforeValidator(_property_number)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,50}$")]
ApiName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][\w:. \[\]-]{0,100}$")]
PropertyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]\w{0,23}$")]
EventName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]\w{0,39}$")]


class ServiceAccount(ConnectorConfig):
    """The key of a service account that was added to the property: its file, or its JSON as a secret."""

    key_file: Path | None = None
    key: SecretStr | None = None

    @model_validator(mode="after")
    def _one(self) -> ServiceAccount:
        if (self.key_file is None) == (self.key is None):
            raise ValueError("give either key_file or key")
        return self


class Report(ConnectorConfig):
    """One report, read day by day. `date` is always its first dimension."""

    name: Name
    dimensions: tuple[ApiName, ...] = (DATE,)
    metrics: tuple[ApiName, ...] = Field(min_length=1, max_length=MAX_METRICS)
    filter: dict[str, JsonValue] | None = Field(None, description="a FilterExpression of the Data API over dimensions")
    start: date | None = Field(None, description="the first day; unless set, as far back as there is something")
    reread_days: int = Field(4, ge=1, le=60, description="days, up to the last one read, that every sync reads again")
    days_per_request: int | None = Field(None, ge=1, description="fewer days sample less, and cost more calls")

    @field_validator("dimensions")
    @classmethod
    def _with_the_date(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        names = (DATE, *(name for name in names if name != DATE))
        if len(names) > MAX_DIMENSIONS:
            raise ValueError(f"a report has at most {MAX_DIMENSIONS} dimensions, {DATE} among them")
        return names

    @model_validator(mode="after")
    def _told_apart(self) -> Report:
        columns = [field_name(each) for each in (*self.dimensions[1:], *self.metrics)]
        doubled = {each for each in columns if columns.count(each) > 1 or each in OWN_FIELDS}
        if doubled:
            raise ValueError(f"{', '.join(sorted(doubled))} would name two fields of a record")
        return self


class Audience(ConnectorConfig):
    """An audience of the property, whose users are read once a day."""

    name: Name
    id: str = Field(pattern=r"^\d+$", description="its number, as it stands in its address in the console")


class ExportFolder(ConnectorConfig):
    """Where the files of the BigQuery export are dropped: `events_YYYYMMDD…`, as Parquet or JSON lines."""

    folder: Path
    intraday: bool = Field(True, description="whether events_intraday_… is read where the day has no other file")
    consentless: Literal["skip", "keep"] = Field("skip", description="events of people who gave no consent")
    params: tuple[str, ...] = Field((), description="further event parameters that become fields of their own")
    stable_seconds: float = Field(2.0, ge=0, le=3_600, description="a file that did not change for so long is complete")
    page_rows: int = Field(50_000, gt=0, le=1_000_000)


class Quota(ConnectorConfig):
    """What the property is allowed, and what is left of it for others."""

    tier: Literal["standard", "360"] = "standard"
    concurrency: int = Field(default=4, ge=1, le=50, description="requests under way at once")
    leave_hourly: int = Field(default=0, ge=0, description="tokens of the hour that are left for others")
    leave_daily: int = Field(default=0, ge=0, description="tokens of the day that are left for others")

    @model_validator(mode="after")
    def _allowed(self) -> Quota:
        if self.concurrency > CONCURRENT[self.tier]:
            raise ValueError(f"a property of tier {self.tier} takes {CONCURRENT[self.tier]} requests at once")
        return self


class EventNames(ConnectorConfig):
    """What the events are called that say what became of a member of an audience."""

    entered: EventName = "audience_entered"
    left: EventName = "audience_left"
    changed: EventName = "audience_changed"


class GoogleAnalyticsConfig(ConnectorConfig):
    """A property: what is read of it, and the data stream that is written to."""

    property: PropertyNumber | None = Field(None, description="the property's number, for reports and audiences")
    service_account: ServiceAccount | None = None
    time_zone: str = Field("UTC", description="the property's reporting time zone")
    reports: tuple[Report, ...] = ()
    audiences: tuple[Audience, ...] = ()
    page_rows: int = Field(MAX_ROWS, ge=1, le=MAX_ROWS, description="rows asked for at once")
    audience_wait: float = Field(1_200.0, ge=0, le=14_400, description="seconds a sync waits for an audience export")
    audience_poll: float = Field(30.0, ge=0, le=600, description="seconds between two looks at an audience export")
    events: ExportFolder | None = Field(None, description="the files of the BigQuery export")
    measurement_id: str | None = Field(None, pattern=r"^G-[A-Z0-9]{4,20}$", description="the web data stream")
    firebase_app_id: str | None = Field(None, min_length=1, description="instead of it: the app's data stream")
    api_secret: SecretStr | None = Field(None, description="a Measurement Protocol secret of the data stream")
    event_names: EventNames = EventNames()
    membership: PropertyName | None = Field(
        None, description="the user property that says whether somebody is in the audience; unless set, in_LIST"
    )
    consent: dict[Literal["ad_user_data", "ad_personalization"], Literal["GRANTED", "DENIED"]] = Field(
        default_factory=dict, description="what is sent as the consent of everybody in the audience"
    )
    validate_first: bool = Field(
        False, alias="validate", description="ask the validation server about every request before it is sent"
    )
    quota: Quota = Field(default_factory=Quota)
    data_url: str = "https://analyticsdata.googleapis.com"
    collect_url: str = "https://www.google-analytics.com"
    sign_in_url: str = "https://oauth2.googleapis.com/token"

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; write an IANA name such as Europe/Vienna") from None
        return name

    @model_validator(mode="after")
    def _complete(self) -> GoogleAnalyticsConfig:
        if (self.reports or self.audiences) and (self.property is None or self.service_account is None):
            raise ValueError("reports and audiences need property and service_account")
        if (self.measurement_id or self.firebase_app_id) and self.api_secret is None:
            raise ValueError("a data stream that is written to needs its api_secret")
        if self.measurement_id and self.firebase_app_id:
            raise ValueError("give either measurement_id or firebase_app_id")
        names = [EVENTS, *(report.name for report in self.reports), *(audience_stream(a.name) for a in self.audiences)]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two streams would be called {', '.join(sorted(doubled))}")
        return self


class DeletionConfig(ConnectorConfig):
    """A property whose users are deleted for good when they enter an audience."""

    property: PropertyNumber
    service_account: ServiceAccount
    confirm: bool = Field(description="true, since what Google Analytics deletes cannot be brought back")
    admin_url: str = "https://analyticsadmin.googleapis.com"
    sign_in_url: str = "https://oauth2.googleapis.com/token"

    @field_validator("confirm")
    @classmethod
    def _meant(cls, value: bool) -> bool:
        if not value:
            raise ValueError("whoever enters the audience is deleted for good; write `confirm: true` if that is meant")
        return value


def field_name(api_name: str) -> str:
    """The field of a record that holds a dimension or metric: `sessionSource` → `session_source`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", api_name)
    return re.sub(r"\W+", "_", parted, flags=re.ASCII).strip("_").lower()


def audience_stream(name: str) -> str:
    """The stream of an audience."""
    return f"audience_{name}"
