"""Steps: one ``ensure_…`` and one condition each, run in order until one has to wait.

A step reads everything again and acts on what is there, so it may run any number of times. It
never sleeps, retries or catches broadly: it raises, and the engine backs off.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, cast

import structlog

from moorage.engine.lease import HeldLease
from moorage.engine.store import LeaseLostError, Store
from moorage.kit.clock import Clock
from moorage.kit.errors import (
    ConflictError,
    DeferredError,
    ForbiddenError,
    InvalidError,
    MoorageError,
    NotFoundError,
    TerminalError,
    UnavailableError,
)
from moorage.kit.redact import redact_text
from moorage.resources import Resource

if TYPE_CHECKING:
    from moorage.resources.meta import Status

log = structlog.get_logger(__name__)

R = TypeVar("R", bound=Resource)
E = TypeVar("E")

WAITING_FOR_EARLIER_STEP = "WaitingForEarlierStep"
DONE_REASON = "Done"
_REASONS: dict[type[MoorageError], str] = {
    UnavailableError: "Unavailable",
    InvalidError: "Invalid",
    ForbiddenError: "Forbidden",
    ConflictError: "Conflict",
}
"""Reasons of errors that are worth another attempt; all others are called ``Error``."""


@dataclass(frozen=True, slots=True)
class Done:
    """The step's condition is true."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The step's condition is not true yet; ``reason`` and ``message`` say what it waits for."""

    reason: str
    message: str
    after: float | None = None
    """Seconds until it is looked at again even if nothing changes; ``None``: at resync."""


Outcome = Done | Wait
DONE = Done()

StepFn = Callable[[R, E], Awaitable[Outcome]]


def wait(reason: str, message: str, *, after: float | None = None) -> Wait:
    """Return what a step returns when it has to wait.

    Args:
        reason: One UpperCamel word that a user can search for.
        message: What is waited for, and what a person could do about it.
        after: Seconds until the step is asked again even if nothing changes.
    """
    return Wait(reason, message, after)


@dataclass(frozen=True, slots=True)
class Step(Generic[R, E]):
    """A function that makes one condition true. Call it like the function itself."""

    condition: str
    run: StepFn[R, E]

    async def __call__(self, resource: R, env: E) -> Outcome:
        """Run the function."""
        return await self.run(resource, env)


def step(condition: str) -> Callable[[StepFn[R, E]], Step[R, E]]:
    """Make a step of a function; ``condition`` is a past participle such as ``VMCreated``."""

    def decorate(function: StepFn[R, E]) -> Step[R, E]:
        return Step(condition, function)

    return decorate


@dataclass(frozen=True, slots=True)
class Result:
    """How a pass over one key ended."""

    outcome: Literal["done", "waiting", "failed", "gone", "lost"]
    after: float | None = None
    """Seconds until the next pass; ``None``: at resync. A failed pass backs off instead."""


RESULT_DONE = Result("done")
RESULT_GONE = Result("gone")
"""Nothing to do until the key is enqueued: it is not there, or not ours."""
RESULT_FAILED = Result("failed")
RESULT_LOST = Result("lost")
"""The lease was lost, or too short for a call: nothing was done, and nothing is written."""


def select_all(_resource: Resource) -> bool:
    """Select every resource."""
    return True


@dataclass(frozen=True, slots=True)
class Context(Generic[E]):
    """What a pass may use."""

    store: Store
    clock: Clock
    env: E
    select: Callable[[Any], bool] = select_all
    """Whether a resource is the controller's to work on."""


class Reconciler(Protocol):
    """Makes what is there into what is asked, for one key at a time."""

    @property
    def kind(self) -> type[Resource] | None:
        """Kind whose resources the keys name; ``None`` when the keys are something else."""
        ...

    async def reconcile(self, key: str, lease: HeldLease, ctx: Context[Any]) -> Result:
        """Look at everything again, and act on what is there. May be repeated."""
        ...


def split_key(key: str) -> tuple[str, str]:
    """Return project and name of a ``project/name`` key."""
    project, _, name = key.partition("/")
    return project, name


def key_of(project: str, name: str) -> str:
    """Return the key of a resource; ``/name`` for a hub-wide one."""
    return f"{project}/{name}"


@dataclass(frozen=True, slots=True)
class _Halt:
    """Why the steps did not all end well."""

    reason: str
    message: str
    result: Result


@dataclass(frozen=True)
class StepReconciler(Generic[R, E]):
    """Runs steps over one kind and keeps its conditions, ``Ready`` among them."""

    kind: type[R]
    steps: Sequence[Step[R, E]]
    teardown: Sequence[Step[R, E]] = ()
    """Run instead of ``steps`` once deletion is asked for."""
    finalizer: str | None = None
    """Stored before the first step runs, removed when the teardown is done."""
    ready: str = "Ready"

    async def reconcile(self, key: str, lease: HeldLease, ctx: Context[E]) -> Result:
        """Run the steps that are due for one resource, and write its status."""
        resource = await ctx.store.find(self.kind, *split_key(key))
        if resource is None or not ctx.select(resource):
            return RESULT_GONE
        if resource.is_deleting:
            return await self._tear_down(resource, lease, ctx)
        if self.finalizer is not None and self.finalizer not in resource.metadata.finalizers:
            resource.metadata.finalizers.append(self.finalizer)
            resource = await ctx.store.put_spec(
                resource, if_version=resource.metadata.resource_version
            )
        halt = await self._run(self.steps, resource, ctx)
        try:
            await ctx.store.put_status(resource, lease=lease.lease)
        except NotFoundError:
            return RESULT_GONE
        return halt.result if halt else RESULT_DONE

    async def _tear_down(self, resource: R, lease: HeldLease, ctx: Context[E]) -> Result:
        if self.finalizer is not None and self.finalizer not in resource.metadata.finalizers:
            return RESULT_GONE
        halt = await self._run(self.teardown, resource, ctx, deleting=True)
        try:
            async with ctx.store.transaction() as tx:
                await tx.put_status(resource, lease=lease.lease)
                if halt is None and self.finalizer is not None:
                    await tx.remove_finalizer(resource, self.finalizer)
        except NotFoundError:
            return RESULT_GONE
        return halt.result if halt else RESULT_GONE

    async def _run(
        self, steps: Sequence[Step[R, E]], work: R, ctx: Context[E], *, deleting: bool = False
    ) -> _Halt | None:
        status: Status = work.status
        status.observed_generation = work.metadata.generation
        halt: _Halt | None = None
        for step_ in steps:
            if halt is not None:
                if status.condition(step_.condition) is None:
                    self._set(work, ctx, step_.condition, "Unknown", WAITING_FOR_EARLIER_STEP, "")
                continue
            halt = await self._run_one(step_, work, ctx)
            if halt is None:
                self._set(work, ctx, step_.condition, "True", DONE_REASON, "")
            else:
                self._set(work, ctx, step_.condition, "False", halt.reason, halt.message)
        if halt is not None:
            self._set(work, ctx, self.ready, "False", halt.reason, halt.message)
        elif deleting:
            self._set(work, ctx, self.ready, "False", "Deleted", "all that was made is gone")
        else:
            self._set(work, ctx, self.ready, "True", DONE_REASON, "")
        return halt

    async def _run_one(self, step_: Step[R, E], work: R, ctx: Context[E]) -> _Halt | None:
        try:
            outcome = await step_.run(work, ctx.env)
        except LeaseLostError:
            raise
        except TerminalError as error:
            message = redact_text(str(error))
            log.warning("step cannot succeed", step=step_.condition, reason=error.reason)
            return _Halt(error.reason, message, Result("waiting"))
        except DeferredError as error:
            message = redact_text(str(error))
            return _Halt(error.reason, message, Result("waiting", after=error.after_s))
        except MoorageError as error:
            log.info("step failed", step=step_.condition, error=str(error))
            reason = next((r for t, r in _REASONS.items() if isinstance(error, t)), "Error")
            return _Halt(reason, redact_text(str(error)), RESULT_FAILED)
        except Exception as error:
            log.exception("step raised", step=step_.condition)
            message = redact_text(f"{type(error).__name__}: {error}")
            return _Halt("Error", message, RESULT_FAILED)
        if isinstance(outcome, Wait):
            result = Result("waiting", after=outcome.after)
            return _Halt(outcome.reason, outcome.message, result)
        return None

    @staticmethod
    def _set(
        work: R,
        ctx: Context[E],
        condition: str,
        state: Literal["True", "False", "Unknown"],
        reason: str,
        message: str,
    ) -> None:
        cast("Status", work.status).set_condition(
            condition,
            state,
            reason,
            message,
            now=ctx.clock.now(),
            generation=work.metadata.generation,
        )
