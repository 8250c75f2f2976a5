"""The gateway's data directory, settings and vault; fingerprints and proxies."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.gateway.config import GatewayConfig, load_config
from moorage.gateway.identity import DataDir, EnrollmentRecord
from moorage.gateway.vault import Vault
from moorage.kit.errors import ForbiddenError, InvalidError, NotFoundError
from moorage.kit.identity import PrivateIdentity, PublicIdentity, sealing_key_statement
from moorage.kit.net import ProxySettings, normal_fingerprint
from moorage.kit.seal import PrivateSealingKey, PublicSealingKey, seal
from moorage.link.enroll import token_gateway
from moorage.resources import CloudAccount, Cluster, Metadata, Secret
from moorage.resources.account import CloudAccountSpec, SecretSpec, Trust, credential_context
from moorage.resources.cluster import ClusterSpec

# --- data directory --------------------------------------------------------------------------


def test_keys_are_private_and_made_once(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "gw")
    identity, sealing = data.ensure_keys()
    again, sealing_again = data.ensure_keys()

    assert again.public().fingerprint == identity.public().fingerprint
    assert sealing_again.public().key_id == sealing.public().key_id
    assert stat.S_IMODE(data.path.stat().st_mode) == 0o700
    for file in data.path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.ensure_keys()
    (tmp_path / "identity.pem").chmod(0o640)

    with pytest.raises(InvalidError, match=r"identity\.pem can be read by others .*chmod 600"):
        data.identity()


def test_before_enrolment_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="moorage-gateway enroll"):
        DataDir(tmp_path).enrollment()


def test_another_installation_is_refused_once_there_is_a_database(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.save_enrollment(EnrollmentRecord(gateway="gw1", installation="a", hub="https://hub"))
    data.refuse_other_installation("b")
    data.database.touch()
    data.refuse_other_installation("a")
    with pytest.raises(InvalidError, match="belongs to installation a"):
        data.refuse_other_installation("b")


def test_a_damaged_record_names_its_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.json"
    file.touch(mode=0o600)
    file.write_text('{"gateway": 7')
    with pytest.raises(InvalidError, match=r"gateway\.json cannot be read"):
        DataDir(tmp_path).enrollment()


# --- settings --------------------------------------------------------------------------------


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "logLevel: debug\nhealth: 127.0.0.1:1\nproxy: http://file:1\n"
        "deletionBrake: {clustersPerHour: 2}\n"
        "vcenter: {callsInFlight: 2, clonesInFlight: 30, clonesPerHost: 4}\n"
    )
    environment = {
        "MOORAGE_GATEWAY_HEALTH": "127.0.0.1:2",
        "MOORAGE_GATEWAY_PROXY": "http://environment:2",
        "MOORAGE_GATEWAY_NO_PROXY": "a,b",
        "MOORAGE_GATEWAY_DELETION_BRAKE": "ignored",
        "MOORAGE_GATEWAY_VCENTER": "ignored",
    }

    config = load_config(
        tmp_path, environment=environment, flags={"proxy": "http://flag:3", "health": None}
    )

    assert config.log_level == "debug"
    assert config.health_address() == ("127.0.0.1", 2)
    assert config.proxy == "http://flag:3"
    assert config.no_proxy == ["a", "b"]
    assert config.deletion_brake.clusters_per_hour == 2
    assert config.deletion_brake.machines_per_hour == 50
    limits = config.vcenter.limits()
    assert (limits.calls, limits.clones, limits.clones_per_host) == (2, 30, 4)
    assert limits.clones_per_datastore == 16, "the default"


def test_all_wrong_settings_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "logLevel: loud\nhealth: nowhere\ncolour: blue\n"
        "vcenter: {callsInFlight: 0, clonesPerHost: many, clones: 3}\n"
    )

    with pytest.raises(InvalidError) as caught:
        load_config(tmp_path, environment={})

    assert {fault.path for fault in caught.value.faults} == {
        "logLevel",
        "health",
        "colour",
        "vcenter.callsInFlight",
        "vcenter.clonesPerHost",
        "vcenter.clones",
    }


@pytest.mark.parametrize("text", ["- a list\n", "{", "just words\n"])
def test_a_settings_file_that_is_none_names_itself(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.yaml").write_text(text)
    with pytest.raises(InvalidError, match=r"other\.yaml"):
        load_config(tmp_path, file=tmp_path / "other.yaml", environment={})


def test_a_settings_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="does not exist"):
        load_config(tmp_path, file=tmp_path / "absent.yaml", environment={})


def test_own_proxy_settings_win_over_the_environments(tmp_path: Path) -> None:
    ambient = {"HTTPS_PROXY": "http://ambient:1", "no_proxy": "x"}
    assert GatewayConfig().proxy_settings(ambient).url == "http://ambient:1"
    own = GatewayConfig(proxy="http://own:2", no_proxy=[]).proxy_settings(ambient)
    assert (own.url, own.no_proxy) == ("http://own:2", ())


# --- proxies and fingerprints ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("*", "https://hub.example.com", True),
        ("example.com", "https://hub.example.com", True),
        (".example.com", "https://hub.example.com", True),
        ("*.example.com", "https://hub.example.com", True),
        ("example.com", "https://example.com", True),
        ("example.com", "https://badexample.com", False),
        ("hub", "https://hub.example.com", False),
        ("HUB.example.com", "https://hub.EXAMPLE.com", True),
        ("hub.example.com:8443", "https://hub.example.com:8443", True),
        ("hub.example.com:8443", "https://hub.example.com", False),
        ("hub.example.com:443", "wss://hub.example.com/v1/link", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://hub.example.com", False),
        ("10.1.2.3", "https://10.1.2.3:8443", True),
        ("fd00::/8", "https://[fd00::7]:8443", True),
        ("[fd00::7]:8443", "https://[fd00::7]:8443", True),
        ("", "https://hub.example.com", False),
        (".", "https://hub.example.com", False),
    ],
)
def test_no_proxy(entry: str, url: str, *, direct: bool) -> None:
    settings = ProxySettings(url="http://proxy:3128", no_proxy=(entry,))
    assert (settings.proxy_for(url) is None) is direct


def test_a_proxys_password_is_never_shown() -> None:
    settings = ProxySettings(url="https://joe:s3cret@proxy.test:3128")
    assert "s3cret" not in repr(settings)
    assert settings.shown == "https://proxy.test:3128"


@pytest.mark.parametrize("url", ["socks5://p:1", "proxy", "http://"])
def test_a_proxy_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InvalidError, match="http://host:port"):
        ProxySettings(url=url)


@given(st.binary(min_size=32, max_size=32), st.booleans(), st.booleans())
def test_fingerprints_are_read_in_any_spelling(digest: bytes, colons: bool, lower: bool) -> None:
    text = digest.hex(":") if colons else digest.hex()
    text = text if lower else text.upper()
    assert normal_fingerprint(f"sha256:{text}") == digest.hex(":").upper()


@given(st.text(max_size=100))
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    try:
        found = normal_fingerprint(text)
    except InvalidError:
        return
    assert len(found) == 95


@pytest.mark.parametrize("token", ["", "gw1", "gw1.", ".secret"])
def test_a_token_that_is_none_is_refused_before_it_is_sent(token: str) -> None:
    with pytest.raises(InvalidError, match=r"NAME\.SECRET"):
        token_gateway(token)


# --- identity --------------------------------------------------------------------------------


def test_a_signature_is_bound_to_key_and_message() -> None:
    key, other = PrivateIdentity.generate(), PrivateIdentity.generate()
    statement = sealing_key_statement("gw1", "abc")
    signature = key.sign(statement)

    PublicIdentity.from_pem(key.public().pem).verify(signature, statement)
    for public, message, given_ in (
        (other.public(), statement, signature),
        (key.public(), sealing_key_statement("gw2", "abc"), signature),
        (key.public(), statement, "bm9uZQ=="),
        (key.public(), statement, "not base64!"),
    ):
        with pytest.raises(ForbiddenError):
            public.verify(given_, message)


# --- vault -----------------------------------------------------------------------------------


def an_account(**changes: object) -> CloudAccount:
    spec = {"gateway": "gw1", "server": "vc.test", "username": "u", "secret": "s", **changes}
    return CloudAccount(metadata=Metadata(name="vc"), spec=CloudAccountSpec.model_validate(spec))


def a_secret(key: PrivateSealingKey, account: CloudAccount, installation: str = "inst") -> Secret:
    context = credential_context(installation, account.metadata.name, account.spec)
    sealed = seal(b"pa55word", [key.public()], context)
    return Secret(metadata=Metadata(name="s"), spec=SecretSpec(gateway="gw1", sealed=sealed))


async def no_key() -> None:
    return None


def test_a_password_opens_for_the_account_it_was_sealed_for() -> None:
    key = PrivateSealingKey.generate()
    account = an_account()
    vault = Vault(key, "inst", no_key)

    assert vault.open_password(account, a_secret(key, account)) == "pa55word"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"server": "evil.test"}, "server"),
        ({"username": "root"}, "username"),
        ({"trust": Trust(insecure=True)}, "trust"),
    ],
)
def test_a_password_is_not_sent_elsewhere(change: dict[str, object], named: str) -> None:
    key = PrivateSealingKey.generate()
    secret = a_secret(key, an_account())
    vault = Vault(key, "inst", no_key)

    with pytest.raises(ForbiddenError, match=f"another {named}: seal it again"):
        vault.open_password(an_account(**change), secret)


def test_a_password_of_another_installation_or_account_stays_closed() -> None:
    key = PrivateSealingKey.generate()
    vault = Vault(key, "inst", no_key)
    with pytest.raises(ForbiddenError, match="another installation"):
        vault.open_password(an_account(), a_secret(key, an_account(), "elsewhere"))
    other = an_account()
    other.metadata.name = "other"
    with pytest.raises(ForbiddenError, match="another name"):
        vault.open_password(an_account(), a_secret(key, other))


def a_cluster(uid: str = "u-1") -> Cluster:
    spec = ClusterSpec.model_validate(
        {
            "account": "vc",
            "kubernetesVersion": "v1.34.4",
            "placement": {
                "datacenter": "DC0",
                "folder": "vms",
                "template": "ubuntu",
                "failureDomains": [
                    {
                        "name": "a",
                        "computeCluster": "CC0",
                        "datastore": "DS0",
                        "network": "VM Network",
                        "ipPool": "pool-1",
                    }
                ],
            },
        }
    )
    return Cluster(metadata=Metadata(name="demo", project="default", uid=uid), spec=spec)


async def test_cluster_keys_are_sealed_to_gateway_and_recovery_key() -> None:
    own, recovery = PrivateSealingKey.generate(), PrivateSealingKey.generate()

    async def pinned() -> PublicSealingKey:
        return recovery.public()

    vault = Vault(own, "inst", pinned)

    sealed = await vault.seal_keys(a_cluster(), b"keys")

    assert vault.open_keys(a_cluster(), sealed) == b"keys"
    assert recovery.open(sealed, sealed.context) == b"keys"
    with pytest.raises(ForbiddenError, match="another uid"):
        vault.open_keys(a_cluster("u-2"), sealed)
    with pytest.raises(ForbiddenError, match="not sealed to this key"):
        Vault(PrivateSealingKey.generate(), "inst", no_key).open_keys(a_cluster(), sealed)


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    for hub in ("https://one", "https://two"):
        data.save_enrollment(EnrollmentRecord(gateway="g", installation="i", hub=hub))
    assert data.enrollment().hub == "https://two"
    assert sorted(os.listdir(tmp_path)) == ["gateway.json"]  # noqa: PTH208
