"""How much of everything a receiver takes on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of a receiver. Times in seconds, sizes in bytes.

    Args:
        public_url: where senders call, as they write it, with the path in front of `/hooks` if there is one; None for
            where it listens. Signatures are over it; what a request says of itself (Host, X-Forwarded-*) is never used.
        body: the largest body as sent, where the receiver does not say (`max_bytes`); beyond it 413.
        head: the largest head, names and values of its headers together; beyond it 431, as with `headers` headers.
        head_time: for the whole head to come; then 408. So long, too, a sender may take to read an answer.
        body_time: for the whole body to come; then 408.
        idle_time: between two requests of a connection.
        answer_time: for the row to be durable; then 503.
        drain_time: at the end, for what is under way.
        connections: open at once; a request on one too many gets 503.
        waiting_rows, waiting_bytes: accepted and not yet durable; beyond them 429.
        receiving_bytes: bodies that are only partly here, all together; beyond them 429.
        retry_after: what a 429 or 503 tells the sender.
    """

    public_url: str | None = None
    body: int = 1 << 20
    head: int = 16 << 10
    headers: int = 100
    head_time: float = 10.0
    body_time: float = 30.0
    idle_time: float = 75.0
    answer_time: float = 5.0
    drain_time: float = 10.0
    connections: int = 1_000
    waiting_rows: int = 10_000
    waiting_bytes: int = 64 << 20
    receiving_bytes: int = 128 << 20
    retry_after: int = 5
