import pytest
from tests.unit.activation.desk import Desk


@pytest.fixture
def desk(tmp_path, database):
    one = Desk(tmp_path, database)
    yield one
    one.working.close()
