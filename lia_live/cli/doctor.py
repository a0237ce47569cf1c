"""``lia-live doctor``: what this machine can do, and the line that mends what it cannot."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser

NOTHING_WORKS = 5
_MARKS = {"ok": "ok     ", "missing": "missing", "broken": "BROKEN "}


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", default=False, help="for other programs")


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    from lia_live.cli.checkup import check_all, usable

    with interrupts.deferred():
        findings = check_all()
    works = usable(findings)
    if flags.json:
        print(json.dumps({"usable": works, "findings": [asdict(f) for f in findings]}, indent=1))
    else:
        for finding in findings:
            print(f"{_MARKS[finding.state]}  {finding.part:<15} {finding.detail}")
            if finding.to_do:
                print(f"{'':9}{'':15} to do: {finding.to_do}")
        print("this machine can run lia-live" if works else "lia-live cannot run here yet")
    return 0 if works else NOTHING_WORKS


COMMAND = Command(
    "doctor", "what this machine can do, and the line that mends it", _add_arguments, _execute
)
