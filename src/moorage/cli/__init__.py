"""``moorage``: the command line, a client of the hub's REST API."""
