"""Names that the bulk tables hold as small integers: streams, identifier kinds; and the types of attributes."""

from collections.abc import Collection, Iterable, Mapping

from sqlmodel import Session, func, select

from switchyard.store.tables import AttributeType, IdentifierKind, Stream, StreamMark


def stream(session: Session, connection: str, name: str) -> Stream:
    """The row of a stream, made where it is new. In a writing transaction."""
    row = session.exec(select(Stream).where(Stream.connection == connection, Stream.name == name)).first()
    if row is None:
        last = session.exec(select(func.max(Stream.id))).one()
        row = Stream(id=(last or 0) + 1, connection=connection, name=name)
        session.add(row)
        session.flush()
    return row


def known_kinds(session: Session) -> dict[str, int]:
    """The number of every identifier kind there is."""
    return {row.name: row.id for row in session.exec(select(IdentifierKind))}


def kinds(session: Session, names: Iterable[str]) -> dict[str, int]:
    """The number of every identifier kind there is, these among them. In a writing transaction."""
    known = known_kinds(session)
    for name in names:
        if name not in known:
            known[name] = max(known.values(), default=0) + 1
            session.add(IdentifierKind(id=known[name], name=name))
    session.flush()
    return known


def marked(session: Session, connection: str, name: str, marks: Collection[str]) -> frozenset[str]:
    """Those of the marks that committed pages of the stream have completed."""
    query = select(StreamMark.mark).join(Stream).where(Stream.connection == connection, Stream.name == name)
    listed = list(marks)
    found: set[str] = set()
    for start in range(0, len(listed), 500):
        found.update(session.exec(query.where(StreamMark.mark.in_(listed[start : start + 500]))))  # type: ignore[attr-defined]  # SQLModel types a column as its value
    return frozenset(found)


def attribute_types(session: Session) -> dict[str, str]:
    """Attribute → its type."""
    return {row.name: row.type for row in session.exec(select(AttributeType))}


def register_attributes(session: Session, types: Mapping[str, str]) -> None:
    """Keep the types of new attributes. In a writing transaction."""
    session.add_all(AttributeType(name=name, type=type) for name, type in types.items())
