"""Run the checks: ``python -m conformance --vcenter … --folder …``.

Ends with 0 when nothing failed and nothing is left, 1 when something did or is, 2 for wrong input
or a vCenter that cannot be used, 130 when it was interrupted.
"""

import signal
import sys
import time

import anyio

from conformance.assumptions import BY_HAND, CHECKED, Assumption
from conformance.outcome import Outcome, RefutedError, Report, SkippedError
from conformance.settings import Settings, parse
from conformance.site import PREFIX, Site, open_site
from moorage.kit.errors import MoorageError
from moorage.kit.log import set_up_logging

_UNUSABLE, _INTERRUPTED = 2, 130


def main() -> int:
    """Run what is asked for, print a table, and write the JSON."""
    set_up_logging(level="error", log_format="console")
    settings = parse(sys.argv[1:])
    unknown = set(settings.only) - {one.id for one in CHECKED}
    if unknown:
        known = ", ".join(one.id for one in CHECKED)
        print(f"--only {', '.join(sorted(unknown))}: known are {known}", file=sys.stderr)
        return _UNUSABLE
    report = Report(settings.server)
    interrupted = False
    try:
        interrupted = anyio.run(_run, settings, report)
    except BaseExceptionGroup as group:
        errors, others = group.split(MoorageError)
        if errors is None or others is not None:
            raise
        for error in errors.exceptions:
            print(f"{settings.server} cannot be used: {error}", file=sys.stderr)
        return _UNUSABLE
    finally:
        if settings.output is not None:
            settings.output.write_text(report.to_json(), encoding="utf-8")
    print(report.table())
    print(f"{len(BY_HAND)} more are left to people: docs/explanation/unproved.md")
    if interrupted:
        return _INTERRUPTED
    return 1 if report.count("failed") or report.left else 0


async def _run(settings: Settings, report: Report) -> bool:
    """Check everything; tells whether somebody interrupted."""
    interrupted = False
    async with anyio.create_task_group() as tasks:

        async def heed_signals() -> None:
            nonlocal interrupted
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    if not interrupted:
                        print("interrupted: cleaning up", file=sys.stderr)
                    interrupted = True
                    tasks.cancel_scope.cancel()

        tasks.start_soon(heed_signals)
        async with open_site(settings, report.left) as site:
            report.product = site.vcenter.product or ""
            report.api_version = site.vcenter.api_version or ""
            report.folder = f"{settings.target.folder}/{PREFIX}{site.run}"
            for one in CHECKED:
                if not settings.only or one.id in settings.only:
                    report.outcomes.append(await _check(one, site))
        tasks.cancel_scope.cancel()
    return interrupted


async def _check(assumption: Assumption, site: Site) -> Outcome:
    print(f"checking {assumption.id} …", file=sys.stderr)
    began = time.monotonic()
    try:
        said, result = await assumption.check(site), "passed"
    except SkippedError as why:
        said, result = str(why), "skipped"
    except (RefutedError, MoorageError) as error:
        said, result = str(error), "failed"
    seconds = round(time.monotonic() - began, 1)
    return Outcome(assumption.id, assumption.claim, result, said, seconds)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
