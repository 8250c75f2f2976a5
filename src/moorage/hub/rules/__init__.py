"""The rules of each kind: what the hub adds to a document, and what it refuses."""
