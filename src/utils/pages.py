"""HTML pages that need nothing besides themselves, from templates beside the code that fills them."""

from collections.abc import Callable, Mapping
from pathlib import Path

Filter = Callable[..., str]


def render(template: Path, filters: Mapping[str, Filter] | None = None, **values: object) -> str:
    """The page of the Jinja2 file `template`, which may extend others of its folder.

    All values are escaped, whoever wrote the names in them. A value that the template names and that is missing is an
    error of ours.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # 0.1 s to import, for pages alone

    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= dict(filters or {})
    return environment.get_template(template.name).render(values)
