"""What the VMs of a cluster are called in vCenter: a pattern that people may set."""

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

_LONGEST = {"cluster": 30, "pool": 20, "uid": 10}
"""Words of a pattern, with the most characters that each can have."""
_MOST = 80
"""What vSphere takes: "The name can be up to 80 characters long" (vSphere Virtual Machine
Administration, Create a Virtual Machine)."""
_WORD = re.compile(r"\{([^{}]*)\}")
_ESCAPED = "/\\%"
"""vSphere writes these otherwise in names, so that a name would not read as it was asked for."""


def _checked(pattern: str) -> str:
    """Refuse what gives no name of a VM, whatever cluster and pool are called."""
    words = _WORD.findall(pattern)
    faults: list[str] = []
    if unknown := [word for word in words if word not in _LONGEST]:
        faults.append(f"{{{unknown[0]}}} is not known: use {{cluster}}, {{pool}} and {{uid}}")
    if not pattern.endswith("{uid}") or words.count("uid") != 1:
        faults.append("it must end in {uid}, and have it once: by that no two VMs are named alike")
    text = _WORD.sub("", pattern)
    bad = sorted({one for one in text if one in _ESCAPED + "{}" or not one.isprintable()})
    if bad:
        faults.append(f"a VM's name cannot have {' '.join(map(repr, bad))}")
    if pattern != pattern.strip():
        faults.append("it must not begin with a space")
    longest = len(text) + sum(_LONGEST.get(word, 0) for word in words)
    if longest > _MOST:
        faults.append(
            f"with the longest names of cluster (30) and pool (20) it gives {longest} characters, "
            f"and vSphere takes {_MOST}"
        )
    if faults:
        raise ValueError("; ".join(faults))
    return pattern


VMNamePattern = Annotated[
    str, StringConstraints(min_length=1, max_length=120), AfterValidator(_checked)
]
"""Text with the words ``{cluster}``, ``{pool}`` and, at its end, ``{uid}``."""


def vm_name(pattern: str, *, cluster: str, pool: str, uid: str) -> str:
    """Return the name that a pattern gives.

    Args:
        pattern: One that was checked.
        cluster: Name of the cluster.
        pool: What stands for the pool.
        uid: The ten digits that are the UID's.
    """
    words = {"cluster": cluster, "pool": pool, "uid": uid}
    return _WORD.sub(lambda found: words[found[1]], pattern)
