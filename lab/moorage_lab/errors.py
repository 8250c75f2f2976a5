"""What the lab says when it cannot do what it was asked."""


class LabError(Exception):
    """Something asked of the lab failed; the text says what, on what, and what helps."""


class NotRunningError(LabError):
    """The lab, or a part of it, is not up."""


class ConflictError(LabError):
    """The virtual machine is not in the state that the operation needs."""


class UnknownVMError(LabError):
    """The hypervisor has no such virtual machine."""
