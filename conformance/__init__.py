"""Whether a real vCenter behaves as the lab's does: what Moorage rests on, checked in one folder.

Run by ``make conformance``; ``docs/howto/conformance.md`` says how. Whatever is assumed of a real
vCenter has an id, here and in ``docs/explanation/unproved.md``.
"""
