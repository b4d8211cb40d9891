"""The options --pseudonyms and --pseudonym-key of commands that export data of people."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from radmeter.people.pseudonyms import Pseudonyms

F = TypeVar("F", bound=Callable[..., Any])


def pseudonym_options(function: F) -> F:
    """Add the options. The command gets `pseudonyms`: None if neither is given."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        wanted, key_file = kwargs.pop("pseudonyms"), kwargs.pop("pseudonym_key")
        return function(*args, **kwargs, pseudonyms=_pseudonyms(wanted, key_file))

    command: Any = wrapper
    command = click.option(
        "--pseudonym-key",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="As --pseudonyms, with the key in FILE: the same person has the same pseudonym in each run.",
    )(command)
    command = click.option(
        "--pseudonyms",
        is_flag=True,
        help="Replace users, stations, addresses and session ids by pseudonyms. The key is made for this run only.",
    )(command)
    return cast(F, command)


def _pseudonyms(wanted: bool, key_file: Path | None) -> "Pseudonyms | None":
    if key_file is None and not wanted:
        return None
    # Imported here because most lists are under their names.
    from radmeter.people.pseudonyms import Pseudonyms

    return Pseudonyms.of_one_run() if key_file is None else Pseudonyms.with_key_file(key_file)
