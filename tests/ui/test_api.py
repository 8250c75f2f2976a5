"""The REST API to look through, for anybody, without a script and without the internet."""

import re

from moorage.auth import OPERATIONS
from tests.ui.browser import Browser


async def test_every_operation_is_listed_and_documents_lead_to_their_parts(
    stranger: Browser,
) -> None:
    front = await stranger.look("/ui/api")
    operations = set(re.findall(r'href="/ui/api/operation/(\w+)"', front.html))
    assert operations == set(OPERATIONS)
    for name in sorted(operations)[::20]:
        assert name in (await stranger.look(f"/ui/api/operation/{name}")).text
    page = await stranger.look("/ui/api/operation/applyCluster")
    for part in ("ClusterDocument", "ClusterSpec", "Placement", "FailureDomain", "NetworkCard"):
        assert f'href="/ui/api/schema/{part}"' in page.html
        page = await stranger.look(f"/ui/api/schema/{part}")


async def test_an_operation_says_what_it_takes_gives_and_needs(stranger: Browser) -> None:
    page = await stranger.look("/ui/api/operation/createProject")
    for words in ("POST /v1/projects", "projects.create", "dryRun", "Idempotency-Key", "201"):
        assert words in page.text
    assert "/ui/api/schema/NewProject" in page.html
    spec = await stranger.look("/ui/api/schema/IPPoolSpec")
    assert "Seconds for which a released address is not given again" in spec.text
    assert "integer 0 to 604800" in spec.text


async def test_operations_are_found_by_words_and_others_are_not_there(stranger: Browser) -> None:
    found = await stranger.look("/ui/api?search=drydock")
    assert "No operation is called like that" in found.text
    found = await stranger.look("/ui/api?search=LABELS of")
    assert "replaceClusterLabels" in found.html
    assert "createCluster" not in found.html
    for path in ("operation/nothing", "schema/nothing"):
        await stranger.look(f"/ui/api/{path}", status=404)
