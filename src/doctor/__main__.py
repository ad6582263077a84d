"""What this machine has and what this project will do on it: a line each, ok, warning or problem, with what to do.

python -m src.doctor
python -m src.doctor --json

Nothing is changed, except that the C++ kernels are compiled if they have not been (up to a minute). The exit status is
1 when a line is a problem, else 0.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence

from src.doctor.examination import examine
from src.doctor.machine import this_machine
from src.doctor.row import PROBLEM, WARNING, Row
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, run
from src.utils.shown import shown


def main(argv: Sequence[str]) -> None:
    """Print the rows. Raises ReportedError when one is a problem."""
    asked = parse(argv)
    rows = examine(this_machine())
    problems = [row.name for row in rows if row.verdict == PROBLEM]
    if asked.json:
        print(json.dumps({"rows": [row.to_dict() for row in rows], "problems": len(problems)}, indent=2))
    else:
        print(table(rows))
    if problems:
        raise ReportedError(
            f"{len(problems)} of {len(rows)} are problems: {', '.join(problems)}; what to do stands there"
        )


def parse(argv: Sequence[str]) -> Namespace:
    """The command line. Raises UsageError."""
    parser = Parser("python -m src.doctor [--json]", __doc__)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def table(rows: Sequence[Row]) -> str:
    """A line for each row, one more for its advice, and a last one that counts."""
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row.verdict:8} {row.name:{width}}  {row.found}")
        if row.advice:
            lines.append(f"{'':8} {'':{width}}  -> {row.advice}")
    counts = [sum(row.verdict == verdict for row in rows) for verdict in (WARNING, PROBLEM)]
    lines.append(f"{len(rows)} rows, {counts[0]} warnings, {counts[1]} problems")
    return shown("\n".join(lines))


if __name__ == "__main__":
    sys.exit(run(main))
