"""All that a plugin author imports.

Connectors: everything here, and `switchyard.api.http` for what the HTTP client can do. Transforms:
`switchyard.api.transforms`. Errors: also in `switchyard.api.errors`, where the tree is drawn.
"""

from switchyard.api.connectors import (
    ConnectorConfig,
    ConnectorSpec,
    Context,
    Limits,
    ListSink,
    ListSinkSpec,
    Sink,
    SinkSpec,
    Source,
    SourceSpec,
    Stream,
    Window,
)
from switchyard.api.errors import (
    AuthError,
    ConfigError,
    PermanentError,
    QuotaExhausted,
    RecordError,
    TransientError,
)
from switchyard.api.hooks import hookimpl
from switchyard.api.records import Cursor, Page, Reject
from switchyard.api.sinks import (
    Batch,
    Change,
    ListChanges,
    ListReceipt,
    ListRef,
    Member,
    Receipt,
    Rejection,
    RemoteList,
)

__all__ = [
    "AuthError",
    "Batch",
    "Change",
    "ConfigError",
    "ConnectorConfig",
    "ConnectorSpec",
    "Context",
    "Cursor",
    "Limits",
    "ListChanges",
    "ListReceipt",
    "ListRef",
    "ListSink",
    "ListSinkSpec",
    "Member",
    "Page",
    "PermanentError",
    "QuotaExhausted",
    "Receipt",
    "RecordError",
    "Reject",
    "Rejection",
    "RemoteList",
    "Sink",
    "SinkSpec",
    "Source",
    "SourceSpec",
    "Stream",
    "TransientError",
    "Window",
    "hookimpl",
]
