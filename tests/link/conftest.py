"""Both ends of the link over real loopback sockets, with a store at each end."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
