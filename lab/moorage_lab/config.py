"""What `up` was asked for: the daemon reads it, so that a restarted one does the same."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from moorage_lab.disk import Image
from moorage_lab.errors import LabError, NotRunningError
from moorage_lab.places import State
from moorage_lab.process import write_atomically


@dataclass(frozen=True, slots=True)
class Config:
    """One lab."""

    inventory: str
    vcenter: str
    """Path of the lab-vcenter binary."""
    nodes: bool
    images: dict[str, str] = field(default_factory=dict)
    """Directory of each image that a template of the inventory names."""

    def save(self, state: State) -> None:
        write_atomically(state.config, json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls, state: State) -> "Config":
        try:
            return cls(**json.loads(state.config.read_text()))
        except FileNotFoundError as error:
            raise NotRunningError(
                f"no lab is up ({state.config} is not there): run `moorage-lab up`"
            ) from error

    def find_image(self, name: str) -> Image:
        """The image that a VM document names; an absolute path is one itself."""
        if name.startswith("/"):
            return Image.at(Path(name))
        if name not in self.images:
            known = ", ".join(sorted(self.images)) or "none"
            raise LabError(f"there is no node image {name!r} in this lab; known: {known}")
        return Image.at(Path(self.images[name]))
