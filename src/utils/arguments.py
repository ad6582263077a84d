"""Command lines of the small tools, with the project's form of a usage error."""

import argparse
from typing import NoReturn

from src.utils.errors import UsageError


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong command line is a UsageError, names are exact, and `--help` shows the text as it is."""

    def __init__(self, usage: str, description: str) -> None:
        super().__init__(
            usage=usage, description=description, allow_abbrev=False, formatter_class=argparse.RawTextHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{message}; --help shows the usage")
