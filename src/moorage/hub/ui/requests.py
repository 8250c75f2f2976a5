"""One-shot requests to gateways, as pages make them."""

from moorage.hub.ui.api import Json
from moorage.hub.ui.page import Page


async def operate(
    page: Page, verb: str, kind: str, name: str, arguments: Json | None = None
) -> Json:
    """Ask a gateway for something, of a resource of that kind and name."""
    spec = {"verb": verb, "subjectKind": kind, "subjectName": name, "arguments": arguments or {}}
    body = {"kind": "Operation", "metadata": {}, "spec": spec}
    made = await page.api.send("POST", "projects", page.project, "operations", body=body)
    return made.json()
