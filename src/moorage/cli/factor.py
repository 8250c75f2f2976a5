"""``moorage second-factor``: codes of an authenticator app at the login."""

import sys
from pathlib import Path

from cyclopts import App

from moorage.cli.say import examples, say

app = App(name="second-factor", help="Codes of an authenticator app at your login.")


@app.command(help_epilogue=examples("moorage second-factor enable"))
async def enable(*, password_file: Path | None = None, code_file: Path | None = None) -> None:
    """Ask for a code of your authenticator app at each login from now on.

    Shows the secret for the app, then takes a code of it, and writes recovery codes to standard
    output: each stands in for the app once. API keys and open sessions go on.

    Args:
        password_file: File that holds your password; asked for otherwise.
        code_file: File that holds the code; asked for otherwise.
    """
    from moorage.cli.ask import read_password
    from moorage.cli.context import Context

    context = Context.current()
    current = read_password(password_file, f"Password of {context.hub.username}: ")
    async with context.api() as api:
        begun = await api.call("POST", "/v1/whoami/totp", body={"current": current})
        say("give this to your authenticator app, by hand or as a QR code:", "strong")
        say(str(begun["secret"]))
        say(str(begun["uri"]))
        code = read_password(code_file, "Code that it shows now: ")
        done = await api.call("PUT", "/v1/whoami/totp", body={"code": code})
    say("store these recovery codes now, they are shown only once", "strong")
    sys.stdout.write("".join(f"{one}\n" for one in done["recoveryCodes"]))


@app.command(help_epilogue=examples("moorage second-factor disable"))
async def disable(*, password_file: Path | None = None, code_file: Path | None = None) -> None:
    """Ask for your password alone again.

    Args:
        password_file: File that holds your password; asked for otherwise.
        code_file: File that holds a code of the app, or a recovery code; asked for otherwise.
    """
    from moorage.cli.ask import read_password
    from moorage.cli.context import Context

    context = Context.current()
    body = {
        "current": read_password(password_file, f"Password of {context.hub.username}: "),
        "code": read_password(code_file, "Code of your authenticator app: "),
    }
    async with context.api() as api:
        await api.call("POST", "/v1/whoami/totp/remove", body=body)
    say("your password alone does again")


@app.command(help_epilogue=examples("moorage second-factor reset bob"))
async def reset(user: str) -> None:
    """Remove the second factor of one who has lost app and recovery codes.

    Args:
        user: Login name.
    """
    from moorage.cli.context import Context
    from moorage.client.paths import quoted

    async with Context.current().api() as api:
        await api.call("DELETE", f"/v1/users/{quoted(user)}/totp")
    say(f"{user} logs in by password alone now")
