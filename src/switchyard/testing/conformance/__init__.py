"""Conformance kits: subclass one, give a few fixtures, and pytest runs its checks against your connector.

::

    class TestAcme(SourceConformance):
        @pytest.fixture
        def spec(self):
            return acme.SOURCE

        @pytest.fixture
        def config(self):
            return {"token": "s3cret-t0ken"}

        @pytest.fixture
        def api(self):
            return fake_acme          # httpx.Request -> httpx.Response

Without `api` the connector speaks to what its configuration names: a simulator on this machine, or files.

The kits need `pytest`, that for list sinks `hypothesis` too.
"""

from switchyard.testing.bench import HOSTILE_RECORDS, Setting
from switchyard.testing.conformance.list_fixtures import Hesitant, Remote, Working
from switchyard.testing.conformance.list_sinks import ListSinkConformance
from switchyard.testing.conformance.sinks import SinkConformance, Told
from switchyard.testing.conformance.source_fixtures import Drift
from switchyard.testing.conformance.sources import SourceConformance

__all__ = [
    "HOSTILE_RECORDS",
    "Drift",
    "Hesitant",
    "ListSinkConformance",
    "Remote",
    "Setting",
    "SinkConformance",
    "SourceConformance",
    "Told",
    "Working",
]
