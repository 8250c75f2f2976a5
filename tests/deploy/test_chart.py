"""The chart: rendered by Helm, taken by a real kube-apiserver, understood by our commands."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from moorage.gateway.config import load_config
from moorage.hub.main import app
from moorage.hub.main import run as run_hub
from tests.deploy.chart import CASES, HUB, NAMESPACE, Json, files, one, pods, render
from tests.kube.certificates import credentials_of
from tests.kube.real import ApiServer, a_real_server, find_program

PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
needs_api_server = pytest.mark.skipif(
    not all(find_program(name) for name in PROGRAMS),
    reason="no etcd, kube-apiserver and kubectl: neither installed nor built",
)
OPERATORS = "monitoring.coreos.com/v1"


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Run an API server with a namespace of the strictest pod security; yield kubectl's command."""
    folder = tmp_path_factory.mktemp("api")
    program = find_program("kubectl")
    assert program is not None
    with a_real_server(folder) as server:
        config = folder / "kubeconfig"
        config.write_text(yaml.safe_dump(kubeconfig(server)))
        command = [program, "--kubeconfig", str(config)]
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": labels},
        }
        ask([*command, "create", "-f", "-"], [namespace])
        yield command


def kubeconfig(server: ApiServer) -> Json:
    credentials = credentials_of(server.pki)

    def data(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    ca = data(server.pki.ca.certificate)
    user = {
        "client-certificate-data": data(credentials.certificate),
        "client-key-data": data(credentials.key),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [
            {"name": "it", "cluster": {"server": server.url, "certificate-authority-data": ca}}
        ],
        "users": [{"name": "it", "user": user}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }


def ask(command: list[str], documents: list[Json]) -> None:
    done = subprocess.run(
        command,
        input=yaml.safe_dump_all(documents),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# One test, so that one API server is started, whoever runs the tests.
@pytest.mark.timeout(600)
@needs_api_server
@pytest.mark.enable_socket
def test_a_real_api_server_takes_every_object_and_admits_every_pod(kubectl: list[str]) -> None:
    apply = [*kubectl, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"]
    create = [*kubectl, "create", "--dry-run=server", "--validate=strict", "-f", "-"]
    for values in CASES.values():
        documents = render(values)
        ask(apply, [d for d in documents if d["apiVersion"] != OPERATORS])
        assert pods(documents)
        ask(create, pods(documents))

    # And it would refuse what is wrong.
    (pod,) = pods(render({"hub": HUB}))
    with pytest.raises(AssertionError, match="restartPolice"):
        ask(create, [{**pod, "spec": {**pod["spec"], "restartPolice": "Always"}}])
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        ask(create, [{**pod, "spec": {**pod["spec"], "hostNetwork": True}}])


@pytest.mark.parametrize("case", CASES)
def test_containers_write_nowhere_but_into_volumes_and_have_limits(case: str) -> None:
    for pod in pods(render(CASES[case])):
        spec = pod["spec"]
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("case", CASES)
def test_what_selects_pods_finds_those_of_its_component_only(case: str) -> None:
    documents = render(CASES[case])
    labels = {pod["metadata"]["name"]: pod["metadata"]["labels"] for pod in pods(documents)}
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] in {"Service", "NetworkPolicy", "PodDisruptionBudget"}:
            chosen = spec.get("podSelector") or spec["selector"]
            wanted = chosen.get("matchLabels", chosen)
            found = [name for name, those in labels.items() if wanted.items() <= those.items()]
            assert found == [document["metadata"]["name"]]


@pytest.mark.parametrize("case", ["a hub", "all of it"])
def test_the_hub_understands_its_settings(case: str, tmp_path: Path) -> None:
    text = one(render(CASES[case]), "ConfigMap", "-hub")["data"]["hub.yaml"]
    file = tmp_path / "hub.yaml"
    file.write_text(text)

    given = settings_of_hub(file)

    assert given["public_url"] == "https://moorage.example.com"
    assert str(given["listen"]) == ("[::]:8443" if case == "all of it" else "0.0.0.0:8443")
    assert given.get("log_level") == ("debug" if case == "all of it" else None)


def settings_of_hub(file: Path) -> Json:
    """Return what `moorage-hub run --config FILE` takes from the file."""
    from cyclopts.config import Yaml  # noqa: PLC0415 - the command line's own reader

    command = app["run"]
    before = command.config
    try:
        command.config = (*app.config, Yaml(file, must_exist=True, use_commands_as_keys=False))
        function, bound, _ = app.parse_args(["run"], exit_on_error=False, print_error=False)
    finally:
        command.config = before
    assert function is run_hub
    return dict(bound.arguments)


def test_a_setting_that_the_hub_does_not_know_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text("log-levle: debug\n")

    with pytest.raises(Exception, match="log-levle"):
        settings_of_hub(file)


@pytest.mark.parametrize("case", ["all of it", "replicas of a site's gateway"])
def test_the_gateway_understands_its_settings(case: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(one(render(CASES[case]), "ConfigMap", "-gateway")["data"]["config.yaml"])

    config = load_config(tmp_path, file=file, environment={})

    assert config.health_address() == ("0.0.0.0", 8470)  # noqa: S104 - a pod


def test_no_secret_stands_in_an_object() -> None:
    for case in CASES.values():
        assert "Secret" not in {document["kind"] for document in render(case)}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"hub": {**HUB, "publicUrl": ""}}, "/hub/publicUrl"),
        ({"hub": {**HUB, "database": {"existingSecret": ""}}}, "/hub/database/existingSecret"),
        ({"hub": {**HUB, "tls": {}}}, "/hub/tls/existingSecret"),
        ({"hub": {**HUB, "replica": 3}}, "replica"),
        ({"hub": HUB, "gateway": {"enabled": True}}, "/gateway"),
        (
            {
                "hub": HUB,
                "gateway": {
                    "enabled": True,
                    "replicas": 2,
                    "enrolment": {"tokenSecret": "token"},
                },
            },
            "/gateway/keys/existingSecret",
        ),
        ({"hub": HUB, "image": {"digest": "sha256:short"}}, "/image/digest"),
    ],
)
def test_values_that_cannot_work_are_refused_by_their_path(values: Json, why: str) -> None:
    with pytest.raises(AssertionError) as refused:
        render(values)

    assert why in str(refused.value)


def test_every_value_is_explained_and_known_to_the_schema() -> None:
    """A value that the schema does not know could not be set at all."""
    assert render({**CASES["all of it"]})  # additionalProperties is false throughout
    assert "moorage login https://moorage.example.com" in files({"hub": HUB})["NOTES.txt"]


def test_two_releases_in_a_namespace_do_not_meet() -> None:
    first, second = (
        {(d["kind"], d["metadata"]["name"]) for d in render(CASES["all of it"], release=name)}
        for name in ("one", "two")
    )

    assert not first & second
