"""The entry point of ``moorage``: options that stand before every command, errors, exit codes.

The modules of the commands import what they work with (REST client, models, cryptography, rich)
inside the commands, so that help, completion and mistyped commands answer at once.
"""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from moorage import __version__
from moorage.cli import (
    access,
    accounts,
    alerts,
    audit,
    clusters,
    declare,
    events,
    factor,
    gateways,
    ippools,
    login,
    machines,
    people,
    pools,
    roles,
    sessions,
    support,
    templates,
)
from moorage.cli.say import say
from moorage.cli.settings import Settings, use
from moorage.kit.errors import InvalidError, MoorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

app = App(
    name="moorage",
    version=__version__,
    help="Kubernetes clusters on VMware vSphere.",
    help_format="plaintext",
    help_epilogue="Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 timed out.\n\n"
    "moorage COMMAND --help tells more, with examples.",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)
for module in (clusters, pools, machines, gateways, accounts, ippools, templates, alerts, audit):
    app.command(module.app)
for part in (
    access.projects,
    people.users,
    people.teams,
    roles.app,
    factor.app,
    sessions.accounts,
    sessions.sessions,
    access.apikeys,
    access.contexts,
):
    app.command(part)
for part in (declare.app, login.app, events.app, machines.logs_app, support.app):
    app.command(part, name="*")
app.register_install_completion_command()
app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    context: Annotated[str | None, Parameter(env_var="MOORAGE_CONTEXT")] = None,
    project: Annotated[str | None, Parameter(name=["--project", "-p"])] = None,
    output: Annotated[
        Literal["table", "json", "yaml"] | None, Parameter(name=["--output", "-o"])
    ] = None,
) -> int:
    """Run a command.

    Args:
        tokens: The command and its own options.
        context: Name of a stored hub and user; the last login by default.
        project: Project to work in; the context's by default.
        output: How results are printed: a table to people, JSON to pipes by default.
    """
    use(Settings(context=context, project=project, output=output))
    result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    return result if isinstance(result, int) else 0


def main(tokens: "Sequence[str] | None" = None) -> None:
    """Run the CLI and leave with its exit code."""
    try:
        sys.exit(run(tokens))
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has gone: nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)


def run(tokens: "Sequence[str] | None" = None) -> int:
    """Run one command line; print errors for people and return the exit code."""
    try:
        code = app.meta(
            tokens, exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
    except CycloptsError as error:
        say(f"error: {error}", "error")
        say("try `moorage --help`", "dim")
        return EXIT_USAGE
    except InvalidError as error:
        say(f"error: {error}", "error")
        return EXIT_USAGE
    except MoorageError as error:
        say(f"error: {error}", "error")
        return EXIT_FAILED
    except KeyboardInterrupt:
        say("interrupted: what was asked for goes on at the hub", "warning")
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else 0
