"""Write the pages of docs/reference that come from the code; ``--check`` only compares.

Run as ``python docs/generate.py``.
"""

import re
import sys
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from cyclopts import App
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import moorage.gateway.app  # noqa: E402 - all modules with metrics
import moorage.hub.serve  # noqa: E402, F401
from moorage.auth import BUILT_IN, OPERATIONS, RESOURCES, Access  # noqa: E402
from moorage.cli.main import app as cli  # noqa: E402
from moorage.client.declare import WRITTEN  # noqa: E402
from moorage.engine.step import _REASONS, DONE_REASON, WAITING_FOR_EARLIER_STEP  # noqa: E402
from moorage.gateway.config import PREFIX, GatewayConfig  # noqa: E402
from moorage.gateway.main import app as gateway  # noqa: E402
from moorage.hub.documents import ClusterDocument  # noqa: E402
from moorage.hub.main import app as hub  # noqa: E402
from moorage.permissions import EVERY_ROW, privileges_page, renames  # noqa: E402
from moorage.resources import Cluster  # noqa: E402
from moorage.vsphere.releases import DIFFERENCES  # noqa: E402
from moorage.vsphere.types import State  # noqa: E402
from tests.conditions import SOURCE, Raised, reasons  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Made by docs/generate.py: change the code, then run it. -->\n\n"

_KINDS = {
    "account": "CloudAccount",
    "apart": "Cluster, NodePool, Machine",
    "cluster": "Cluster",
    "endpoint": "Cluster",
    "folder": "Cluster",
    "importing": "Template",
    "inside": "Cluster",
    "place": "Cluster, Machine",
    "ippool": "IPPool",
    "machine": "Machine",
    "teardown": "Machine",
    "node": "Machine",
    "nodepool": "NodePool",
    "operation": "Operation",
    "prefetching": "Template",
    "privileges": "CloudAccount",
    "template": "Template",
    "vsphere": "CloudAccount, Machine",
}


def cli_page() -> str:
    """Return every command of ``moorage``."""
    text = (
        "# The command line\n\nEvery command takes these options, before or after its own:\n\n"
        "* `--context STR`: name of a stored hub and user; the last login by default "
        "(`MOORAGE_CONTEXT`).\n"
        "* `--project`, `-p STR`: project to work in; the context's by default.\n"
        "* `--output`, `-o table|json|yaml`: a table to people, JSON to pipes by default.\n\n"
        "Results go to standard output, progress and errors to standard error. Exit codes: 0 done, "
        "1 failed, 2 wrong usage or input, 3 timed out, 130 interrupted. `MOORAGE_CONFIG` names "
        "another file than `~/.config/moorage/config.yaml`; `NO_COLOR` turns colours off.\n\n"
    )
    for name in sorted(word for word in cli if not word.startswith("-")):
        text += _commands(cli[name], f"moorage {name}", level=2)
    return text


def _commands(app: App, path: str, *, level: int) -> str:
    words = [word for word in app if not word.startswith("-")]
    if words:
        text = f"{'#' * level} {path}\n\n{_plain(app.help)}\n\n"
        return text + "".join(_commands(app[w], f"{path} {w}", level=level + 1) for w in words)
    made = app.generate_docs(heading_level=level, recursive=False, usage_name=path)
    body = made.split("```", 2)[-1].lstrip("\n")
    usage = made.split("```", 2)[1].removeprefix("console")
    text = f"{'#' * level} {path}\n\n```console{usage}```\n\n{_lists(body)}\n\n"
    lines = (app.help_epilogue or "").removeprefix("Examples:\n").splitlines()
    commands = "\n".join(line.removeprefix("  ") for line in lines)
    return text + (f"```sh\n{commands}\n```\n\n" if commands else "")


def _lists(body: str) -> str:
    body = re.sub(r", --no-[-a-z]+`", "`", body).replace(" *[default: False]*", "")
    return re.sub(r"\n{3,}", "\n\n", body.replace("**Parameters**:\n\n", "").rstrip())


def _plain(text: Any) -> str:
    return " ".join(str(text or "").split())


def cluster_page() -> str:
    """Return the fields of the documents of all kinds that people write."""
    text = (
        "# Documents\n\nWhat `moorage apply` reads: `kind`, `metadata` (`name`, `labels`, and "
        "`project` of clusters and node pools) and `spec`, a cluster with its `nodePools`. Unknown "
        "fields are refused. `demo/cluster.yaml` is a complete example.\n\n"
    )
    seen: set[type[BaseModel]] = set()
    text += _model(ClusterDocument, "Cluster", seen)
    rest = [kind for kind in reversed(WRITTEN) if kind is not Cluster]
    for kind in rest:
        text += _model(kind.model_fields["spec"].annotation, f"{kind.kind_name()}: spec", seen)
    return text


def _model(model: type[BaseModel], title: str, seen: set[type[BaseModel]]) -> str:
    seen.add(model)
    rows, inner = [], []
    for name, field in model.model_fields.items():
        type_, models = _type(field.annotation)
        if field.is_required():
            default = "**required**"
        elif field.default_factory is not None or field.default in (None, PydanticUndefined, ""):
            default = ""
        else:
            value = field.default.value if isinstance(field.default, Enum) else field.default
            default = f"`{str(value).lower() if isinstance(value, bool) else value}`"
        meaning = _plain(field.description).replace("``", "`").replace("|", "\\|")
        rows.append(f"| `{field.alias or name}` | {type_} | {default} | {meaning} |\n")
        inner += [m for m in models if m not in seen and m not in inner]
    doc = _plain(model.__doc__).replace("``", "`")
    text = f"## {title}\n\n{doc}\n\n| field | type | default | meaning |\n|---|---|---|---|\n"
    text += "".join(rows) + "\n"
    for found in inner:
        if found not in seen:
            text += _model(found, found.__name__, seen)
    return text


def _type(annotation: Any) -> tuple[str, list[type[BaseModel]]]:  # noqa: PLR0911 - a table
    """Return a type as people write it, and the models that it names."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(args[0])
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in args), []
    if origin in (Union, types.UnionType):
        parts = [_type(arg) for arg in args if arg is not type(None)]
        return " \\| ".join(text for text, _ in parts), [m for _, ms in parts for m in ms]
    if origin is list:
        text, models = _type(args[0])
        return f"list of {text}", models
    if origin is dict:
        return "map", []
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})", [annotation]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " \\| ".join(f"`{value.value}`" for value in annotation), []
    words = {"str": "text", "int": "number", "bool": "true or false", "float": "number"}
    name = getattr(annotation, "__name__", str(annotation))
    return words.get(name, name), []


def conditions_page() -> str:
    """Return every reason that a condition may have."""
    found: dict[tuple[str, str], list[Raised]] = {}
    for entry in reasons():
        found.setdefault((entry.reason, _kind(entry)), []).append(entry)
    text = (
        "# Conditions and reasons\n\n"
        "Each thing says in its conditions what it waits for; `Ready` repeats the step that halts. "
        "A reason marked **change needed** does not pass by waiting: `--wait` ends with 1.\n\n"
        "| reason | of | condition | what it says |\n|---|---|---|---|\n"
    )
    for (reason, kind), entries in sorted(found.items()):
        steps = ", ".join(sorted({f"`{e.condition}`" for e in entries if e.condition}))
        first = max(entries, key=lambda e: len(e.message))
        mark = "**change needed** " if any(e.terminal for e in entries) else ""
        says = first.message.replace("|", "\\|").strip()
        text += f"| `{reason}` | {kind} | {steps} | {mark}{says if says != '…' else ''} |\n"
    text += "\n## Of every step\n\n| reason | meaning |\n|---|---|\n"
    text += f"| `{DONE_REASON}` | The condition is true. |\n"
    text += (
        f"| `{WAITING_FOR_EARLIER_STEP}` | A step before it is not done; its status is Unknown. |\n"
    )
    for error, reason in _REASONS.items():
        text += f"| `{reason}` | {_plain(error.__doc__).replace('``', '`')} It is tried again. |\n"
    text += "| `Error` | Something else went wrong; the message says what. It is tried again. |\n"
    text += "| `Deleted` | All that was made is gone. |\n"
    text += "\n## Of a vCenter's connection\n\nStates of a cloud account, used as reasons: "
    text += ", ".join(f"`{state.value}`" for state in State) + ".\n"
    text += "\n## Words of a booting node\n\nA machine's `status.progress`: "
    text += ", ".join(f"`{word}`" for word in _boot_words()) + "."
    text += "\n`moorage logs MACHINE` fetches what stands behind them.\n"
    return text


def _kind(entry: Raised) -> str:
    parts = entry.module.split(".")
    return _KINDS.get(parts[-1]) or _KINDS.get(parts[1], parts[1])


def _boot_words() -> Iterator[str]:
    script = (SOURCE / "bootstrap" / "files" / "boot.sh").read_text(encoding="utf-8")
    lines = [line for line in script.splitlines() if not line.startswith("#")]
    script = "\n".join(lines)
    found = re.findall(r"\b(?:report|fail|give_up|give_up_for_ever|wait_until) ([A-Z]\w+)", script)
    yield from sorted(set(found))


def settings_page() -> str:
    """Return what can be set of hub and gateway."""
    text = (
        "# Settings\n\n## Hub\n\n`moorage-hub run` takes flags, `MOORAGE_HUB_…` from the "
        "environment, and the keys of a YAML file that `--config FILE` names.\n\n"
        "| flag | environment | default | meaning |\n|---|---|---|---|\n"
    )
    made = hub["run"].generate_docs(recursive=False, heading_level=2)
    for name, meaning in re.findall(r"^\* `(?:.*, )?(--[-a-z]+)[^`]*`: (.*)$", made, re.MULTILINE):
        env = "MOORAGE_HUB_" + name.removeprefix("--").upper().replace("-", "_")
        says, _, rest = meaning.partition(" *[default: ")
        shown = f"`{rest.partition(']*')[0]}`" if rest else ""
        text += f"| `{name}` | `{env}` | {shown} | {says.partition(' *[')[0]} |\n"
    text += (
        "\n## Gateway\n\n`config.yaml` in the data directory, then the environment, then flags of "
        "`moorage-gateway run`; later ones win.\n\n"
        "| key | environment | default | meaning |\n|---|---|---|---|\n"
    )
    for name, field in GatewayConfig.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        env = "file only" if nested else f"`{PREFIX}{name.upper()}`"
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        meaning = _plain(field.description).replace("``", "`")
        if nested and isinstance(field.annotation, type):
            inner = field.annotation.model_fields  # type: ignore[attr-defined]
            parts = [f"`{f.alias}` ({f.default})" for f in inner.values()]
            meaning = f"{_plain(field.annotation.__doc__)} {', '.join(parts)}"
        text += f"| `{field.alias}` | {env} | {default} | {meaning} |\n"
    text += "\n## Their commands\n\n"
    for app, name in ((hub, "moorage-hub"), (gateway, "moorage-gateway")):
        for word in sorted(w for w in app if not w.startswith("-")):
            text += _commands(app[word], f"{name} {word}", level=3)
    return text


def releases_page() -> str:
    """Return in what releases of vCenter differ for Moorage."""
    text = (
        "# Releases of vCenter\n\nMoorage works with vCenter 6.7 Update 3, 7.0 and 8.0. The same "
        "life of a cluster is run at API 6.7.3, 7.0.3 and 8.0.3 of the lab's vCenter "
        "(`tests/thin/test_releases.py`).\n\n"
        "| | 6.7 U3 | 7.0 | 8.0 | Moorage |\n|---|---|---|---|---|\n"
    )
    for one in DIFFERENCES:
        text += f"| {one.what} | {one.old} | {one.middle} | {one.new} | {one.met} |\n"
    text += (
        "\n## Privileges that came later\n\n`moorage accounts check` and `roles` ask for them "
        "where the release has them ([all privileges](privileges.md)).\n\n"
        "| privilege | since | for |\n|---|---|---|\n"
    )
    later = {(row.privilege, row.since, row.operation) for row in EVERY_ROW if row.since > (6, 7)}
    for privilege, (major, minor), operation in sorted(later):
        text += f"| `{privilege}` | {major}.{minor} | {operation} |\n"
    text += (
        "\n## Privileges with another name in the vSphere Client\n\nThe id is the same; what is "
        "said about an account has the name of its release.\n\n"
        "| id | until 6.7 | from 7.0 |\n|---|---|---|\n"
    )
    for privilege in sorted({row.privilege for row in EVERY_ROW}):
        names = renames(privilege)
        if len(names) > 1:
            text += f"| `{privilege}` | {names[0][1]} | {names[1][1]} |\n"
    return text


def rights_page() -> str:
    """Return what each built-in role permits, and what each REST operation needs."""
    text = (
        "# Permissions, built-in roles and operations\n\n"
        "A grant gives a role in one project or everywhere; see [how to let people in]"
        "(../howto/people.md). Objects that live beside all projects (place *tenant*) take a grant "
        "for the whole hub; those of place *shared* are seen with any grant whose role lets see "
        "them. A grant with a label selector reaches what lives in *cluster*.\n\n"
        "## What the built-in roles permit\n\n"
    )
    head = [name.replace("-", " ") for name in BUILT_IN]
    text += f"| permission | place | {' | '.join(head)} |\n|{'---|' * (len(head) + 2)}\n"
    for name, resource in RESOURCES.items():
        for operation in resource.operations:
            permission = f"{name}.{operation}"
            marks = ["x" if permission in one.permissions else "" for one in BUILT_IN.values()]
            text += f"| `{permission}` | {resource.place} | {' | '.join(marks)} |\n"
    text += "\n## What the operations need\n\n| operation | permission |\n|---|---|\n"
    for operation, need in OPERATIONS.items():
        words = {
            Access.PUBLIC: "none: anybody",
            Access.OWN: "none: whoever is logged in, about himself",
        }
        wanted = f"`{need.permission}`" if need.permission else words[need.access or Access.OWN]
        if need.access is Access.MACHINE:
            wanted += ", but from the hub's own machine"
        if need.may_create and need.may_create != need.permission:
            wanted += f", or `{need.may_create}` for what is not there yet"
        text += f"| `{operation}` | {wanted} |\n"
    return text


def metrics_page() -> str:
    """Return every metric of our own, and who exposes it."""
    text = (
        "# Metrics\n\nThe hub answers at `/metrics` of its own address, to its own machine and to "
        "tokens with the permission `metrics.get`; the gateway at that of its health page. The "
        "usual `process_…` and `python_…` are there too. [How to watch Moorage]"
        "(../howto/monitoring.md).\n\n| metric | type | labels | of | meaning |\n"
        "|---|---|---|---|---|\n"
    )
    homes: dict[int, set[str]] = {}
    for module, loaded in list(sys.modules.items()):
        if module.startswith("moorage."):
            for value in vars(loaded).values():
                if isinstance(value, MetricWrapperBase):
                    homes.setdefault(id(value), set()).add(module.split(".")[1])
    found = {one for one in REGISTRY._collector_to_names if isinstance(one, MetricWrapperBase)}
    for metric in sorted(found, key=lambda one: one._name):
        if not metric._name.startswith("moorage_"):
            continue
        shown = metric._name + ("_total" if metric._type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        known = homes[id(metric)]
        home = "hub" if known == {"hub"} else "gateway" if known == {"vsphere"} else "both"
        said = metric._documentation
        text += f"| `{shown}` | {metric._type} | {labels} | {home} | {said} |\n"
    text += "\n## Alert rules\n\n| alert | severity | after | says |\n|---|---|---|---|\n"
    rules = ROOT / "deploy" / "helm" / "moorage" / "files" / "alerts.yaml"
    for group in yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            says = re.sub(r"{{ \$(labels\.)?(\w+)[^}]*}}", r"*\2*", rule["annotations"]["summary"])
            severity = rule["labels"]["severity"]
            text += f"| `{rule['alert']}` | {severity} | {rule['for']} | {says} |\n"
    return text


PAGES = {
    "cli.md": cli_page,
    "conditions.md": conditions_page,
    "documents.md": cluster_page,
    "metrics.md": metrics_page,
    "privileges.md": privileges_page,
    "releases.md": releases_page,
    "rights.md": rights_page,
    "settings.md": settings_page,
}


def main() -> int:
    """Write the pages, or tell which differ from the code."""
    check = sys.argv[1:] == ["--check"]
    stale = []
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = REFERENCE / name, MADE + page().rstrip() + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
    if stale and check:
        sys.stderr.write(
            f"docs/reference differs from the code ({', '.join(stale)}): "
            "run `python docs/generate.py`\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
