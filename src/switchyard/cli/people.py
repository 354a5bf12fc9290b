"""The groups of commands that look at what the hub holds: segments, profiles, audiences, quarantine."""

from __future__ import annotations

from typing import Annotated

import typer

from switchyard.cli import tables
from switchyard.cli.faults import of_verified
from switchyard.cli.invocation import Json, asked, respond

Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]
Segment = Annotated[str, typer.Argument(help="The segment's name.")]
Audience = Annotated[str, typer.Argument(help="The audience's name in switchyard.yaml.")]
SomeAudience = Annotated[str | None, typer.Argument(help="Only this audience.")]
Connection = Annotated[str | None, typer.Option(help="Only records of this connection.", metavar="NAME")]
Stream = Annotated[str | None, typer.Option(help="Only records of this stream.", metavar="NAME")]
Code = Annotated[str | None, typer.Option(help="Only records refused for this reason.", metavar="CODE")]

segments = typer.Typer(help="Segments: what they say, and who is in them.", no_args_is_help=True)
profiles = typer.Typer(help="Profiles: one person each, with the evidence.", no_args_is_help=True)
audiences = typer.Typer(help="Audiences: segments as lists elsewhere, with their proofs.", no_args_is_help=True)
quarantine = typer.Typer(help="Quarantine: records that could not be used, until replayed.", no_args_is_help=True)

GROUPS = {"segments": segments, "profiles": profiles, "audiences": audiences, "quarantine": quarantine}


@segments.command("list")
def list_segments(context: typer.Context, as_json: Json = False) -> None:
    """List the segments with their sizes as last evaluated."""
    work = asked("segments list")
    respond(context, as_json, work, tables.segments)


@segments.command("show")
def show_segment(context: typer.Context, segment: Segment, as_json: Json = False) -> None:
    """Say what a segment means: in a sentence, and in its canonical text."""
    work = asked("segments show", segment=segment)
    respond(context, as_json, work, tables.facts)


@segments.command("members")
def members_of_segment(context: typer.Context, segment: Segment, limit: Limit = 100, as_json: Json = False) -> None:
    """List who is in a segment, first come first."""
    work = asked("segments members", segment=segment, limit=limit)
    respond(context, as_json, work, tables.members)


@profiles.command("find")
def find_profiles(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="kind=value, such as email=ann@x.org, or a value of any kind.")],
    as_json: Json = False,
) -> None:
    """Find the profiles that an identifier leads to."""
    work = asked("profiles find", what=what)
    respond(context, as_json, work, tables.found)


@profiles.command("show")
def show_profile(
    context: typer.Context,
    profile: Annotated[int, typer.Argument(help="The profile's id; one it had before a merge does it too.")],
    as_json: Json = False,
) -> None:
    """Show one person: attributes, who says so, merges, segments, latest events."""
    work = asked("profiles show", profile=profile)
    respond(context, as_json, work, tables.profile)


@audiences.command("list")
def list_audiences(context: typer.Context, as_json: Json = False) -> None:
    """List the audiences with their last proofs."""
    work = asked("audiences list")
    respond(context, as_json, work, tables.audiences)


@audiences.command("show")
def show_audience(context: typer.Context, audience: Audience, limit: Limit = 100, as_json: Json = False) -> None:
    """Show one audience: its last proof, and whom the vendor refused, with the reasons."""
    work = asked("audiences show", audience=audience, limit=limit)
    respond(context, as_json, work, tables.audience)


@audiences.command("verify")
def verify_audiences(context: typer.Context, audience: SomeAudience = None, as_json: Json = False) -> None:
    """Read lists back and compare them with their segments, without a change.

    Ends with exit code 1 where a list is not what its segment is.
    """
    work = asked("audiences verify", "reading back", audience=audience)
    respond(context, as_json, work, tables.verified, of_verified)


@quarantine.command("list")
def list_quarantine(
    context: typer.Context,
    connection: Connection = None,
    code: Code = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List the records that wait, with the reasons, and how many there are of each."""
    work = asked("quarantine list", connection=connection, code=code, limit=limit)
    respond(context, as_json, work, tables.quarantine)


@quarantine.command("show")
def show_quarantined(
    context: typer.Context,
    record: Annotated[int, typer.Argument(metavar="ID", help="The id that `quarantine list` gives.")],
    as_json: Json = False,
) -> None:
    """Show one record, whole, with where it stood and why it was refused."""
    work = asked("quarantine show", record=record)
    respond(context, as_json, work, tables.facts)


@quarantine.command("replay")
def replay_quarantine(
    context: typer.Context, connection: Connection = None, stream: Stream = None, as_json: Json = False
) -> None:
    """Map the records that wait once more, after the configuration was mended.

    A record that is refused again waits again, with its new reason.
    """
    work = asked("quarantine replay", "replaying", connection=connection, stream=stream)
    respond(context, as_json, work, tables.facts)
