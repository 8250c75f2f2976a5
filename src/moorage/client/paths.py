"""Where things stand in the REST API, and what is sent to make one."""

from urllib.parse import quote

from moorage.resources import Resource
from moorage.resources.meta import Document


def quoted(part: str) -> str:
    """Return a name as one part of a path, whatever it holds."""
    return quote(part, safe="")


def project_path(project: str) -> str:
    """Return the path under which a project's things stand."""
    return f"/v1/projects/{quoted(project)}"


def path_of(kind: type[Resource], project: str = "") -> str:
    """Return the path of a kind's list."""
    return f"{project_path(project)}/{kind.plural}" if project else f"/v1/{kind.plural}"


def creation_document(resource: Resource) -> Document:
    """Return what a user may send to create a resource."""
    meta = resource.metadata
    return {
        "kind": resource.kind,
        "metadata": {"name": meta.name, "labels": meta.labels},
        "spec": resource.document()["spec"],
    }
