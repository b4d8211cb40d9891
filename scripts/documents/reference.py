"""The lists of docs/reference that are made from the code: settings, commands, the HTTP API, tables and views."""

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from radmeter.cli.main import SECTIONS, cli
from radmeter.config import ALL

ROOT = Path(__file__).resolve().parents[2]
MADE = "This list is made from the code by `./scripts/docs write`, and a test compares them."
# Options that many commands have. They are said once.
SHARED = ("--state", "--dsn", "--config", "--help", "--journal", "--timezone", "--format", "--answer-seconds")


def cell(text: str) -> str:
    """Return a text as a cell of a table. What is between < and > would be a tag of HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def prose(text: str) -> str:
    """Return a text as a paragraph whose lines fit."""
    whole = " ".join(text.split()).replace("<", "\\<")
    return "\n".join(textwrap.wrap(whole, 120, break_long_words=False, break_on_hyphens=False)) + "\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def chapters() -> dict[str, list[str]]:
    """Return the names of the settings by chapter, as deploy/radmeter.toml has them."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (ROOT / "deploy" / "radmeter.toml").read_text().partition("\n[")[0].splitlines():
        if line.startswith("## "):
            name = re.split(r"[.:] |[.:]$", line[3:])[0]
        elif setting := re.match(r"#?(\w+) = ", line):
            found.setdefault(name, []).append(setting[1])
    return found


# A checkout has another one.
DEFAULTS = {"state": "`/var/lib/radmeter`, in a checkout `var/`"}


def settings() -> str:
    """Return the page of the settings."""
    known = {setting.name: setting for setting in ALL}
    text = f"""# Settings

A setting is an option of a command, a variable of the environment, or a line of [the configuration
file](../operators/services.md#the-configuration-file), in this order. `radmeter config` shows each value with its
source.

{MADE}
"""
    for chapter, names in chapters().items():
        rows = [
            [
                f"`{name}` `{known[name].variable}`",
                DEFAULTS.get(name) or (f"`{known[name].default}`" if known[name].default else "-"),
                cell(f"{known[name].meaning[0].upper()}{known[name].meaning[1:]}."),
            ]
            for name in names
        ]
        text += f"\n## {chapter}\n\n" + table(["in the file, and as a variable", "default", "meaning"], rows)
    return text


def leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, (*path, name))
    else:
        yield " ".join(path), command


def first_sentence(command: click.Command) -> str:
    text = " ".join((command.help or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) ", text)[0]


def options(name: str, command: click.Command) -> Iterator[list[str]]:
    """Yield a row for each option of a command that is its own."""
    context = click.Context(command, info_name=name)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        shown, meaning = record or ("", "")
        if meaning and not set(parameter.opts) & set(SHARED):
            # Which variable it has, and the default, are on the page of the settings.
            yield [f"`{cell(shown)}`".replace("&lt;", "<"), cell(meaning.partition("  [env")[0])]


def commands() -> str:
    """Return the page of the commands."""
    text = f"""# Commands

Every command has `--help` with examples. [Commands by purpose](../operators/commands.md) has the usual ones.

{MADE}

- `--state`, `--dsn`, `--journal`, `--timezone`, `--answer-seconds`, `--config`: see [settings](settings.md). Most
  commands take some of them.
- `--format table|json|csv`: the form of the output. Commands that show something have it.
- `--help`, `-h`: the help.
"""
    context = click.Context(cli)
    for section, names in SECTIONS.items():
        text += f"\n## {section}\n"
        for name in names:
            top = cli.get_command(context, name)
            assert top is not None
            for path, command in leaves(top, (name,)):
                usage = " ".join(command.collect_usage_pieces(click.Context(command)))
                text += f"\n### radmeter {path}\n\n{prose(first_sentence(command))}\n    radmeter {path} {usage}\n"
                if own := list(options(path, command)):
                    text += "\n" + table(["option", "meaning"], own)
    return text


def api() -> str:
    """Return the page of the HTTP API, from its description."""
    described: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())
    rows = [
        [
            f"`{method.upper()} {path}`",
            cell(call["summary"]),
            cell(call.get("description", "").split(". ")[0]),
        ]
        for path, calls in described["paths"].items()
        for method, call in calls.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]
    return f"""# The HTTP API

[How to use it](../operators/api.md), with examples. [OpenAPI](../openapi.json) has each parameter and field.

{MADE}

""" + table(["call", "does", "for"], rows)


class Column(NamedTuple):
    """A column of a table or view, as the database says."""

    relation: str
    is_view: bool
    about: str | None
    name: str
    kind: str
    meaning: str | None


COLUMNS = """
SELECT format('%s.%s', namespace.nspname, relation.relname), relation.relkind = 'v',
       obj_description(relation.oid, 'pg_class'), attribute.attname,
       format_type(attribute.atttypid, attribute.atttypmod), col_description(relation.oid, attribute.attnum)
FROM pg_class AS relation
JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
JOIN pg_attribute AS attribute
    ON attribute.attrelid = relation.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
WHERE namespace.nspname IN ('public', 'radmeter') AND relation.relkind IN ('r', 'p', 'v')
  AND NOT relation.relispartition
ORDER BY namespace.nspname, relation.relname, attribute.attnum"""
"""Columns of all tables and views but partitions, whose columns are those of their table."""


# For these, the database and sql/views.sql speak of other things, or say nothing.
ABOUT = {
    "radmeter.user_usage": "What each user has used in each quota period.",
    "radmeter.user_plans": "Which plan each user has.",
    "radmeter.router_list": "Routers, and today's date at each. A tenant sees its own, and the names of former ones.",
    "radmeter.router_usage": "What went through each router on each day of its time zone. A tenant sees its own days.",
    "radmeter.sessions": "Sessions with their router, open and closed.",
    "public.ingest_checkpoint": "How far each detail file and retry is ingested, and who may ship a journal.",
    "radmeter.totals": "What is there now: open sessions, routers to be claimed, packets that were set aside.",
}


def about_views() -> dict[str, str]:
    """Return what each view is, from sql/views.sql."""
    found = re.findall(
        r"((?:^--.*\n)*)^CREATE OR REPLACE VIEW ([\w.]+)",
        (ROOT / "sql" / "views.sql").read_text(),
        re.MULTILINE,
    )
    return {
        name: " ".join(re.sub(r"^-- ?", "", comment, flags=re.MULTILINE).split()) for comment, name in found
    }


# What a column of this name means everywhere, where the database says nothing.
MEANINGS = {
    "acctinputoctets": "octets from the user",
    "acctoutputoctets": "octets to the user",
    "acctsessionid": "the router's id of the session",
    "acctsessiontime": "seconds",
    "acctstarttime": "when the session began",
    "acctstoptime": "when it ended; NULL: it is open",
    "acctterminatecause": "why it ended, as the router said",
    "acctuniqueid": "FreeRADIUS's id of the session",
    "acctupdatetime": "the time of its latest packet",
    "bytes_in": "octets from the user",
    "bytes_out": "octets to the user",
    "bytes_total": "octets in both directions",
    "callingstationid": "the user's device, mostly its MAC",
    "framedipaddress": "the address of the user's device",
    "mac": "of the router",
    "period_start": "the first day of the period",
    "router_id": "the number of the router",
    "router_mac": "of the router",
    "router_name": "of the router",
    "usage_date": "a day of the router's time zone",
    "username": "the user, as the router sent the name",
}


def columns(listed: Iterable[Column]) -> str:
    """Return the page of the tables and views."""
    relations: dict[str, list[Column]] = {}
    for row in listed:
        relations.setdefault(row.relation, []).append(row)
    views = about_views()
    text = f"""# Tables and views

{MADE}

The views are made for people and programs to read, and keep their columns. The tables may change with a release, but
for `radacct`, which keeps FreeRADIUS's columns. [For accountants](../accountants/tables.md) has examples in SQL. Octets
are whole numbers of bytes. Times are `timestamp with time zone`. *Up* and *in* mean from the user, *down* and *out* to
the user.
"""
    for title, is_view in (("Views", True), ("Tables", False)):
        text += f"\n## {title}\n"
        for name, found in relations.items():
            if found[0].is_view == is_view:
                text += f"\n### {name}\n\n"
                if about := ABOUT.get(name) or found[0].about or views.get(name):
                    text += prose(about.removesuffix(".") + ".") + "\n"
                rows = [
                    (f"`{each.name}`", each.kind, cell(each.meaning or MEANINGS.get(each.name, "")))
                    for each in found
                ]
                # A table without any meaning has no such column.
                width = 3 if any(meaning for *_, meaning in rows) else 2
                text += table(["column", "type", "meaning"][:width], [row[:width] for row in rows])
    return text
