"""The gateway's process: store, link and controllers put together. It dials; nobody dials it."""

from pathlib import Path

DEFAULT_DATA = Path("/var/lib/moorage-gateway")
