"""The gateway's process: store, link and controllers put together. It dials; nobody dials it."""
