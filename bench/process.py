"""What the kernel knows of processes: memory, processor time, children."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """Memory of one process, in MiB."""

    rss: float
    """Resident: what the budget counts. Pages that several processes share count in each."""
    pss: float
    """Its fair share of shared pages."""
    private: float
    """What would be free again if it ended."""

    @classmethod
    def of(cls, pid: int) -> "Memory":
        """Read it from the kernel."""
        fields: dict[str, float] = {}
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            fields[name] = int(rest.split()[0]) / 1024
        private = fields["Private_Clean"] + fields["Private_Dirty"]
        return cls(round(fields["Rss"], 1), round(fields["Pss"], 1), round(private, 1))


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, in seconds."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def descendants(pid: int) -> dict[int, str]:
    """Return pid and name of all processes below one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
            except OSError:  # it ended meanwhile
                continue
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in parents.get(waiting.pop(), ()):
            found[child] = Path(f"/proc/{child}/comm").read_text().strip()
            waiting.append(child)
    return found


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
