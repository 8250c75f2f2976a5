"""Overview, gateways, IP pools, accounts and audit in the browser."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from moorage.kit.identity import PublicIdentity
from moorage.kit.seal import PrivateSealingKey, SealedEnvelope
from moorage.resources.account import CloudAccountSpec, credential_context
from tests.api.world import PASSWORD, World, a_cluster
from tests.ui.browser import Browser
from tests.ui.test_foundation import inline

HERE = "/ui/p/default"
STATIC = Path(__file__).parents[2] / "src/moorage/hub/ui/static"


async def test_a_new_hub_shows_the_first_steps(browser: Browser) -> None:
    page = await browser.look("/ui/")
    assert page.url.path == f"{HERE}/overview"
    assert "First steps" in page.text


async def test_a_gateway_is_added_and_its_command_shown_once(browser: Browser) -> None:
    page = await browser.look(f"{HERE}/gateways")
    wrong = await browser.submit(page, "/add", status=422, name="Not A Name")
    assert "metadata.name" in wrong.text
    page = await browser.submit(wrong, "/add", name="site-9")
    shown = await browser.submit(page, "/token")
    assert "moorage-gateway enroll --hub https://hub.example.com --token site-9." in shown.text
    assert "--token" not in (await browser.look(f"{HERE}/gateways/site-9")).text


async def test_an_ip_pool_is_added_and_its_faults_shown(browser: Browser, world: World) -> None:
    await world.enrol()
    page = await browser.look(f"{HERE}/ippools")
    fields = {"name": "a", "start": "10.0.0.9", "end": "10.0.0.5", "router": "x"}
    wrong = await browser.submit(page, "/add", status=422, **fields)
    assert "spec.router" in wrong.text
    page = await browser.submit(wrong, "/add", end="10.0.0.19", router="10.0.0.1", nameServers="")
    assert page.url.path == f"{HERE}/ippools/a"
    assert len([1 for _, got in page.tags if got.get("class") == "free"]) == 11


async def test_pages_of_sites_show_what_there_is(browser: Browser, world: World) -> None:
    await world.site()
    await world.ok("POST", "/v1/projects/default/clusters", a_cluster("one"))
    expected = {
        "overview": "It is not connected",
        "gateways": "site-1",
        "gateways/site-1": "Fingerprint",
        "ippools": "nodes",
        "ippools/nodes": "10.0.0.49: free",
        "accounts": "vcenter.example.com",
        "accounts/vcenter": "verified by the gateway's system CAs",
        "new-account": "Seal and add",
        "audit?kind=Cluster": "create",
    }
    for path, text in expected.items():
        page = await browser.look(f"{HERE}/{path}")
        titles = " ".join(got.get("title", "") for _, got in page.tags)
        assert text in page.text.replace("&#39;", "'") + titles, path
        assert inline(page) == [], path


async def test_who_may_not_see_the_audit_log_is_not_led_there(
    stranger: Browser, world: World
) -> None:
    await world.make_user("eve", [{"role": "project-viewer", "project": "default"}])
    page = await stranger.log_in("eve", PASSWORD)
    assert f"{HERE}/audit" not in page.links()
    await stranger.look(f"{HERE}/audit", status=404)
    page = await stranger.look(f"{HERE}/gateways")
    assert [form.action for form in page.forms] == ["/ui/logout"]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs a program that runs JavaScript")
def test_what_the_browser_seals_the_gateway_opens() -> None:
    ours, recovery = PrivateSealingKey.generate(), PrivateSealingKey.generate()
    ca = "-----BEGIN CERTIFICATE-----\nMII\u00e9\u007f\n-----END CERTIFICATE-----\n"
    spec = CloudAccountSpec.model_validate(
        {
            "gateway": "site-1",
            "server": "vcenter.example.com",
            "username": "j\u00f6rg@vsphere.local",
            "secret": "one",
            "trust": {"caBundle": ca},
        }
    )
    given = {"keys": [ours.public().pem, recovery.public().pem], "spec": spec.document()}
    module = base64.b64encode((STATIC / "seal.js").read_bytes()).decode()
    script = f"""
        const {{ seal, credentialContext, recoveryPair, certificateRequest }} =
            await import("data:text/javascript;base64,{module}");
        const given = {json.dumps(given)};
        const context = await credentialContext("an-installation", "one", given.spec);
        const sealed = await seal("pass\u00fcort \U0001f511", given.keys, context);
        const pair = await recoveryPair(), {{ csr }} = await certificateRequest("alice");
        console.log(JSON.stringify({{ sealed, pair, csr }}));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    made = json.loads(done.stdout)
    context = credential_context("an-installation", "one", spec)
    envelope = SealedEnvelope.model_validate(made["sealed"])

    assert ours.open(envelope, context) == "pass\u00fcort \U0001f511".encode()
    assert recovery.open(envelope, context) == "pass\u00fcort \U0001f511".encode()
    assert PrivateSealingKey.from_pem(made["pair"]["secret"]).public().pem == made["pair"]["open"]
    assert PublicIdentity.from_pem(made["pair"]["open"])
    request = x509.load_pem_x509_csr(made["csr"].encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=alice"
