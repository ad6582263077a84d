"""One line of the doctor's table."""

from dataclasses import asdict, dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Row:
    """What was looked at, the verdict (ok, warning, problem), what was found, and what to do unless it is ok."""

    name: str
    verdict: str
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """As plain values, for JSON."""
        return asdict(self)


def ok(name: str, found: str) -> Row:
    """All is well, or nothing that this project needs."""
    return Row(name, OK, found)


def warning(name: str, found: str, advice: str) -> Row:
    """Something works less well than it could, or only sometimes."""
    return Row(name, WARNING, found, advice)


def problem(name: str, found: str, advice: str) -> Row:
    """Something does not work until it is changed."""
    return Row(name, PROBLEM, found, advice)
