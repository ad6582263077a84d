"""The process in which rows are tried, one after another: python -m scripts.device_test.worker DESCRIPTOR ORDER

It imports MindSpore once for many rows; what a row does to it (a driver that crashes, a hang) ends this process alone.
DESCRIPTOR takes a line of JSON for each row: its name alone when it begins, then its verdict and figure.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

FAILED, PASSED, NOT_APPLICABLE = "FAIL", "pass", "-"


def main(descriptor: int, order: dict) -> None:
    """Try the rows of `order`."""
    with os.fdopen(descriptor, "w", encoding="utf-8") as answers:

        def say(**values: object) -> None:
            print(json.dumps(values), file=answers, flush=True)

        say(row=order["rows"][0])  # what the imports do is the first row's
        from scripts.device_test.context import Context
        from scripts.device_test.rows import ROWS
        from src.model_utils.device_adapter import set_up_device

        set_up_device(order["target"], None, deterministic=True)  # it takes its device before the first operator only
        folder = Path(order["folder"])
        context = Context(order["target"], order["devices"], folder, Path(order["bundled"]))
        rows = {row.name: row for row in ROWS}
        for name in order["rows"]:
            say(row=name)
            started = time.monotonic()
            verdict, figure = attempt(rows[name], context)
            say(row=name, verdict=verdict, figure=figure, seconds=round(time.monotonic() - started, 1))


def attempt(row: object, context: object) -> tuple[str, str]:
    """The verdict of one row, and its figure or what went wrong. A bug of ours is a failure too, with its traceback."""
    from scripts.device_test.context import NotApplicableError
    from src.utils.errors import ReportedError

    print(f"--- {row.name}", flush=True)
    try:
        return PASSED, row.try_it(context)
    except NotApplicableError as error:
        return NOT_APPLICABLE, str(error)
    except ReportedError as error:
        return FAILED, str(error)
    except Exception as error:
        traceback.print_exc()
        return FAILED, f"{type(error).__name__}: {error}"[:300]


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
