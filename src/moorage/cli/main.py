"""The entry point of ``moorage``: options that stand before every command, errors, exit codes."""

import sys
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from moorage import __version__
from moorage.cli import (
    access,
    accounts,
    audit,
    clusters,
    events,
    gateways,
    ippools,
    login,
    machines,
    pools,
    support,
)
from moorage.cli.context import Settings, stderr, use
from moorage.kit.errors import InvalidError, MoorageError

EXIT_FAILED, EXIT_USAGE = 1, 2

app = App(
    name="moorage",
    version=__version__,
    help="Kubernetes clusters on VMware vSphere.\n\nExit codes: 0 done, 1 failed, 2 wrong usage "
    "or input, 3 timed out.",
)
for module in (clusters, pools, machines, gateways, accounts, ippools, audit):
    app.command(module.app)
for part in (access.projects, access.users, access.apikeys, access.contexts):
    app.command(part)
app.command(login.login)
app.command(login.logout)
app.command(login.whoami)
app.command(events.events)
app.command(machines.logs)
app.command(support.support_bundle)
app.register_install_completion_command()


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


def main() -> None:
    """Run the CLI and leave with its exit code."""
    console = stderr()
    try:
        code = app.meta(exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        console.print(f"error: {error}", style="red")
        console.print("try `moorage --help`", style="dim")
        sys.exit(EXIT_USAGE)
    except InvalidError as error:
        console.print(f"error: {error}", style="red")
        sys.exit(EXIT_USAGE)
    except MoorageError as error:
        console.print(f"error: {error}", style="red")
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        console.print("interrupted: what was asked for goes on at the hub", style="yellow")
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
