"""The client of workload clusters, against API servers on the loopback."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
