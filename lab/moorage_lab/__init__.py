"""The lab: a simulated vCenter whose powered-on virtual machines are real Linux nodes.

It is the witness of every end-to-end test, so it imports nothing of the product.
Tests use `moorage_lab.api`, people use the command `moorage-lab`.
"""
