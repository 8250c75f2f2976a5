"""Reasons of conditions, read from the code by its syntax: for tests and the reference page."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import moorage
from moorage.controllers.gateway.placement.following import OUTDATED

SOURCE = Path(moorage.__file__).parent
PACKAGES = ("controllers", "vsphere", "packs", "bootstrap", "kube", "ipam")
"""Whose errors become conditions: what runs in the gateway's controllers."""


class Raised(NamedTuple):
    """A reason, where it is given, and the beginning of what it says."""

    reason: str
    module: str
    condition: str
    message: str
    terminal: bool


def reasons() -> list[Raised]:
    """Return every ``wait("Reason", …)`` and error with a reason of the gateway."""
    found: list[Raised] = []
    for package in PACKAGES:
        for path in sorted((SOURCE / package).rglob("*.py")):
            module = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
            found += _in_module(ast.parse(path.read_text(encoding="utf-8")), module)
    return found


def raised_terminal() -> frozenset[str]:
    """Return the reasons that waiting does not mend."""
    state = (SOURCE / "vsphere" / "types.py").read_text(encoding="utf-8")
    values = {}
    for node in ast.walk(ast.parse(state)):
        if isinstance(node, ast.ClassDef) and node.name == "State":
            for item in node.body:
                if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant):
                    values[item.targets[0].id] = item.value.value  # type: ignore[attr-defined]
    said = {entry.reason for entry in reasons() if entry.terminal}
    states = ("INVALID_CREDENTIALS", "NOT_VCENTER", "TOO_OLD", "UNTRUSTED_CERTIFICATE")
    state_reasons = {values[one] for one in states}
    return frozenset({*said, *state_reasons, OUTDATED})  # an outdated plan waits for a person


def _in_module(tree: ast.Module, module: str) -> Iterator[Raised]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        condition = _condition(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                name, first = node.func.id, node.args[0]
                if name not in ("wait", "TerminalError", "DeferredError"):
                    continue
                message = _text(node.args[1]) if len(node.args) > 1 else ""
                for reason in _constants(first):
                    yield Raised(reason, module, condition, message, name == "TerminalError")


def _condition(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    for decorator in function.decorator_list:
        if (
            isinstance(decorator, ast.Call)
            and isinstance(decorator.func, ast.Name)
            and decorator.func.id == "step"
        ):
            return _text(decorator.args[0])
    return ""


def _constants(node: ast.expr) -> list[str]:
    """Return the texts that an expression may be: a constant, or both branches of an if."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*_constants(node.body), *_constants(node.orelse)]
    return []


def _text(node: ast.expr) -> str:
    """Return a message as far as the code knows it; ``…`` for what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
    return "…"
