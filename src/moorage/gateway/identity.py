"""The gateway's data directory: its keys, what it learned at enrolment, and its database."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from moorage.kit.errors import InvalidError, NotFoundError
from moorage.kit.identity import PrivateIdentity
from moorage.kit.net import ServerTrust
from moorage.kit.seal import PrivateSealingKey

PRIVATE = 0o600
PRIVATE_DIR = 0o700


class EnrollmentRecord(BaseModel):
    """``gateway.json``: which gateway this is, and at which hub."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    gateway: str
    installation: str
    hub: str
    """URL, ``https://host[:port]``."""
    hub_ca: str | None = None
    """PEM that the hub's certificate must chain to; neither: the system's trust store."""
    hub_certificate: str | None = None
    """PEM of the hub's own certificate, pinned."""

    def trust(self) -> ServerTrust:
        """Return how the hub's certificate is verified."""
        return ServerTrust(ca_pem=self.hub_ca, leaf_pem=self.hub_certificate)


@dataclass(frozen=True, slots=True)
class DataDir:
    """The files of one gateway; only their owner can read them."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "gateway.db"

    @property
    def database_url(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self.database}"

    @property
    def sessions(self) -> Path:
        """Folder of the notes of vCenter sessions."""
        return self.path / "sessions"

    @property
    def imports(self) -> Path:
        """Folder of OVAs that are imported by their name, unless another one is set."""
        return self.path / "imports"

    def ensure(self) -> None:
        """Make the directory; an existing one loses the rights of others."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIR)
            self.path.chmod(PRIVATE_DIR)
        except OSError as error:
            raise InvalidError(
                f"data directory {self.path} cannot be made or kept private: {error.strerror}"
            ) from error

    def ensure_keys(self) -> tuple[PrivateIdentity, PrivateSealingKey]:
        """Return identity and sealing key, made if they are not there yet."""
        self.ensure()
        identity_file, sealing_file = self._identity_file, self._sealing_file
        if not identity_file.exists():
            _write_private(identity_file, PrivateIdentity.generate().pem)
        if not sealing_file.exists():
            _write_private(sealing_file, PrivateSealingKey.generate().pem)
        return self.identity(), self.sealing()

    def identity(self) -> PrivateIdentity:
        """Return the identity key; raises ``NotFoundError`` before enrolment."""
        return PrivateIdentity.from_pem(_read_private(self._identity_file))

    def sealing(self) -> PrivateSealingKey:
        """Return the sealing key; raises ``NotFoundError`` before enrolment."""
        return PrivateSealingKey.from_pem(_read_private(self._sealing_file))

    def enrollment(self) -> EnrollmentRecord:
        """Return what was learned at enrolment; raises ``NotFoundError`` before."""
        text = _read_private(self._record_file)
        try:
            return EnrollmentRecord.model_validate_json(text)
        except ValidationError as error:
            raise InvalidError(
                f"{self._record_file} cannot be read: {error}; enrol again to write it anew"
            ) from error

    def is_enrolled(self) -> bool:
        """Tell whether the gateway was enrolled from this directory."""
        return self._record_file.exists()

    def refuse_other_installation(self, installation: str) -> None:
        """Raise ``InvalidError`` when the database here belongs to another hub."""
        if not (self.is_enrolled() and self.database.exists()):
            return
        known = self.enrollment().installation
        if known != installation:
            raise InvalidError(
                f"{self.database} belongs to installation {known}, the hub is {installation}: "
                "its clusters must not meet; choose another --data directory"
            )

    def save_enrollment(self, record: EnrollmentRecord) -> None:
        """Write ``gateway.json``, whole or not at all."""
        text = record.model_dump_json(by_alias=True, exclude_none=True, indent=2)
        _write_private(self._record_file, text + "\n")

    @property
    def _identity_file(self) -> Path:
        return self.path / "identity.pem"

    @property
    def _sealing_file(self) -> Path:
        return self.path / "sealing.pem"

    @property
    def _record_file(self) -> Path:
        return self.path / "gateway.json"


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, so that a crash leaves the old one or the new."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read_private(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{path} does not exist: run `moorage-gateway enroll` with this data directory first"
        ) from error
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise InvalidError(f"{path} can be read by others (mode {mode & 0o777:o}): chmod 600 it")
    return text
