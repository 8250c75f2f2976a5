"""Machines: from the clone to the node, and away again."""
