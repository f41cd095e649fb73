"""The command `remit`: one file a noun. Operators' commands are clients of the API, over mTLS.

Exit status 0 done, 1 refused or failed, 2 usage. Heavy imports happen where they are used, so
that a command starts in tens of milliseconds.
"""

from __future__ import annotations

import sys

import click

from remit.cli import agent, cert, crl, enroll, local, operator, policy, revoke, task, token, watch

NOUNS = (agent, cert, crl, enroll, local, operator, policy, revoke, task, token, watch)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="remit")
def remit() -> None:
    """The certificate authority for AI agents."""


for noun in NOUNS:
    for command in noun.COMMANDS:
        remit.add_command(command)


def main() -> None:
    """The entry point: every refusal is one sentence on stderr."""
    from remit.failed import Failed
    from remit.files import Foreign

    try:
        remit.main(standalone_mode=True)
    except (Failed, Foreign, OSError) as error:
        click.echo(f"remit: {error}", err=True)
        sys.exit(1)
