"""`doctor`: is everything well, and what to do where not."""

from __future__ import annotations

import textwrap
from typing import Any

from jobengine.cli import codes
from jobengine.cli.options import Options, command, positive
from jobengine.cli.show import say, say_json
from jobengine.doctor import Examination, Finding, Limits, examination

_ABOUT = """
Looks at server, connection, schema, vacuum and jobs, and names for each finding its remedy, which
can be pasted. It writes nothing. What this role may not see is a note. Errors and warnings give
exit code 1, notes do not.

  jobengine doctor
  jobengine doctor --json | jq -r '.findings[].code'

contract: docs/doctor.md has every code
"""
_INDENT = " " * 9


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, _doctor, "Find what is wrong, with its remedy.", _ABOUT)
    usual = Limits()
    parser.add_argument(
        "--hold",
        type=positive,
        default=usual.hold,
        metavar="SECONDS",
        help=f"a snapshot held so long is a finding (default: {usual.hold:g})",
    )
    parser.add_argument(
        "--idle",
        type=positive,
        default=usual.idle,
        metavar="SECONDS",
        help=f"due jobs that nobody claims so long are one (default: {usual.idle:g})",
    )


async def _doctor(url: str, options: Options) -> int:
    result = await examination(url, limits=Limits(hold=options.hold, idle=options.idle))
    if options.json:
        say_json({"healthy": result.healthy, "findings": result.findings, "fine": result.fine})
    else:
        _show(result)
    return codes.DONE if result.healthy else codes.FAILED


def _show(result: Examination) -> None:
    for finding in result.findings:
        say(_shown(finding))
    for check, seen in result.fine.items():
        say(f"ok       {check}: {seen}")
    say("healthy" if result.healthy else f"not healthy: {_count(result)}")


def _shown(finding: Finding) -> str:
    seen = textwrap.fill(
        f"{finding.severity:<9}{finding.code}: {finding.seen}",
        width=100,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{seen}\n{textwrap.indent(finding.remedy, _INDENT + '| ')}"


def _count(result: Examination) -> str:
    severities = [finding.severity for finding in result.findings]
    return ", ".join(
        f"{severities.count(severity)} {severity}{'s' * (severities.count(severity) > 1)}"
        for severity in ("error", "warning", "note")
        if severity in severities
    )
