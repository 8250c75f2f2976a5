"""A small world to reconcile: projects, and steps that tests tell what to do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from moorage.engine import DONE, Controller, Manager, Outcome, StepReconciler, step
from moorage.kit.clock import FakeClock
from moorage.resources import Metadata, Project
from moorage.store import SqlStore

MINE = "moorage.dev/test"

Behaviour = Callable[[Project], Awaitable[Outcome]]


async def succeed(_project: Project) -> Outcome:
    return DONE


@dataclass
class World:
    """What the steps work with: what they shall do, and what they did."""

    first: Behaviour = succeed
    second: Behaviour = succeed
    teardown: Behaviour = succeed
    calls: list[str] = field(default_factory=list)


@step("FirstDone")
async def ensure_first(project: Project, world: World) -> Outcome:
    world.calls.append(f"first {project.metadata.name}")
    return await world.first(project)


@step("SecondDone")
async def ensure_second(project: Project, world: World) -> Outcome:
    world.calls.append(f"second {project.metadata.name}")
    return await world.second(project)


@step("Emptied")
async def ensure_empty(project: Project, world: World) -> Outcome:
    world.calls.append(f"teardown {project.metadata.name}")
    return await world.teardown(project)


PROJECTS = StepReconciler(
    kind=Project,
    steps=(ensure_first, ensure_second),
    teardown=(ensure_empty,),
    finalizer=MINE,
)


def a_project(name: str = "blue") -> Project:
    return Project(metadata=Metadata(name=name, finalizers=[MINE]))


def a_controller(world: World, **changes: Any) -> Controller[World]:
    return Controller(name="project", reconciler=PROJECTS, env=world, **changes)


def a_manager(
    store: SqlStore, world: World, *, ttl: timedelta = timedelta(seconds=60), **changes: Any
) -> Manager:
    return Manager(store, [a_controller(world, **changes)], clock=store.clock, lease_ttl=ttl)


def fake(store: SqlStore) -> FakeClock:
    assert isinstance(store.clock, FakeClock)
    return store.clock


def reasons(project: Project) -> dict[str, str]:
    return {c.type: f"{c.status}/{c.reason}" for c in project.status.conditions}
