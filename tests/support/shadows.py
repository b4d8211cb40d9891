"""Functions and operators in `public` that PostgreSQL prefers to its own, if it looks in `public` at all.

Anybody who may create in `public` can make `public.pg_has_role(text, text, text)`. Its arguments fit a call with
literals better than those of pg_catalog's function. It then runs as whoever calls it (CVE-2018-1058).

For each name of a function or operator in our own source text, and each of PostgreSQL's forms of it, this makes forms
with other argument types. Each says in the server's log that it ran, which no rollback takes back, and fails.
"""

import re
from pathlib import Path

from radmeter import resources
from support.servers import Connection, Server

RAN = "a shadow ran: "
SOURCES = (Path(resources.__file__).parent, resources.directory("sql"))

# One function for each pair of arguments, and operators that use them.
PLANT = """
DO $plant$
DECLARE
    v_form record;
    v_ran CONSTANT text := 'BEGIN RAISE LOG %L; RAISE EXCEPTION %L; END';
    v_types CONSTANT text[] := '{text,name,varchar,oid,regclass,regnamespace,regtype,regproc,bigint,integer,smallint,'
        'numeric,double precision,timestamptz,timestamp,date,interval,boolean,"char",jsonb,json,inet,macaddr,'
        'text[],name[],bigint[],oid[],int2vector,bytea,xid,int8range,int8multirange,tstzrange}';
    v_left text;
    v_right text;
    v_operator text;
BEGIN
    -- The same function with one type put in the place of another, for all types of its arguments at once.
    FOR v_form IN
        WITH other (was, becomes) AS (VALUES
            ('text', 'text'), ('text', 'name'), ('text', 'varchar'), ('name', 'text'), ('name', 'varchar'),
            ('oid', 'regclass'), ('oid', 'regnamespace'), ('oid', 'text'), ('oid', 'name'), ('regclass', 'text'),
            ('regclass', 'oid'), ('bigint', 'integer'), ('integer', 'bigint'), ('integer', 'smallint'),
            ('double precision', 'numeric'), ('double precision', 'bigint'), ('numeric', 'bigint'),
            ('numeric', 'double precision'), ('anyelement', 'text'), ('anyelement', 'bigint'), ('anyarray', 'text[]'),
            ('anyarray', 'bigint[]'), ('anyarray', 'name[]'), ('anycompatiblearray', 'text[]'), ('"any"', 'text'),
            ('"any"', 'bigint'), ('"any"', 'name'), ('anynonarray', 'text'), ('anymultirange', 'int8multirange'),
            ('anyrange', 'tstzrange'), ('timestamp with time zone', 'date'), ('date', 'timestamptz'),
            ('json', 'jsonb'), ('json', 'text'), ('jsonb', 'json'), ('jsonb', 'text'), ('inet', 'text'))
        SELECT DISTINCT proname, coalesce((
            SELECT string_agg(CASE WHEN kind = was THEN becomes WHEN kind ~ '^any|"any"' THEN 'text' ELSE kind END,
                              ', ' ORDER BY place)
            FROM (SELECT format_type(type, NULL) AS kind, place
                  FROM unnest(string_to_array(proargtypes::text, ' ')::oid[]) WITH ORDINALITY AS argument (type, place)
                  -- VARIADIC "any": calls of up to six arguments
                  UNION ALL
                  SELECT '"any"', 100 + more FROM generate_series(1, extra) AS more WHERE provariadic <> 0) AS arguments
            ), '') AS arguments
        FROM pg_proc CROSS JOIN other CROSS JOIN generate_series(0, 5) AS extra
        WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (%(functions)s::text[])
          AND (extra = 0 OR provariadic <> 0) AND pronargs > 0
          AND NOT 'internal'::regtype = ANY (proargtypes) AND NOT 'trigger'::regtype = prorettype
    LOOP
        CONTINUE WHEN to_regprocedure(format('pg_catalog.%%I(%%s)', v_form.proname, v_form.arguments)) IS NOT NULL
            OR to_regprocedure(format('public.%%I(%%s)', v_form.proname, v_form.arguments)) IS NOT NULL;
        EXECUTE format('CREATE FUNCTION public.%%I(%%s) RETURNS text LANGUAGE plpgsql '
                       'SET search_path = pg_catalog AS %%L', v_form.proname, v_form.arguments,
            format(v_ran, %(ran)s || v_form.proname, %(ran)s || v_form.proname || '(' || v_form.arguments || ')'));
    END LOOP;

    FOREACH v_left IN ARRAY v_types LOOP
        FOREACH v_right IN ARRAY v_types LOOP
            CONTINUE WHEN v_left = v_right AND v_left IN ('text', 'bigint', 'integer', 'boolean');
            EXECUTE format('CREATE FUNCTION public.shadow(%%s, %%s) RETURNS boolean LANGUAGE plpgsql '
                           'SET search_path = pg_catalog AS %%L', v_left, v_right,
                format(v_ran, %(ran)s || 'operator', %(ran)s || format('operator (%%s, %%s)', v_left, v_right)));
            FOREACH v_operator IN ARRAY %(operators)s::text[] LOOP
                CONTINUE WHEN to_regoperator(
                    format('pg_catalog.%%s(%%s,%%s)', v_operator, v_left, v_right)) IS NOT NULL;
                EXECUTE format('CREATE OPERATOR public.%%s (FUNCTION = public.shadow, LEFTARG = %%s, RIGHTARG = %%s)',
                    v_operator, v_left, v_right);
            END LOOP;
        END LOOP;
    END LOOP;
END $plant$"""


def source() -> str:
    """Return the text of all our files that have SQL."""
    files = [
        file for root in SOURCES for kind in ("*.py", "*.sql") for file in sorted(Path(root).rglob(kind))
    ]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def plant(connection: Connection) -> tuple[int, int]:
    """Make the functions and operators. Return how many of each there are."""
    text = source()
    called = sorted(set(re.findall(r"\b([a-z_][a-z0-9_]*)\s*\(", text)))
    connection.execute("SET search_path = pg_catalog")
    named = {
        row[0] for row in connection.execute("SELECT DISTINCT oprname FROM pg_operator WHERE oprkind = 'b'")
    }
    operators = sorted(each for each in named if f" {each} " in text)
    # The statements of the DO block have no parameters on the server.
    statement = PLANT.replace("%(functions)s", _literal(called)).replace("%(operators)s", _literal(operators))
    connection.execute(statement.replace("%(ran)s", f"'{RAN}'").replace("%%", "%").encode())
    made = connection.execute(
        """SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
                  (SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace)"""
    ).fetchone()
    assert made is not None
    return made


def _literal(texts: list[str]) -> str:
    return "'{" + ",".join(f'"{text}"' for text in texts) + "}'"


class Log:
    """What shadows have said in the server's log since this was made."""

    def __init__(self, server: Server) -> None:
        self._path = server.log
        self._begin = self._path.stat().st_size

    def ran(self) -> set[str]:
        """Return the names of the shadows that ran."""
        with self._path.open("rb") as file:
            file.seek(self._begin)
            text = file.read().decode(errors="replace")
        return set(re.findall(rf"LOG:  {RAN}(\S+)", text))
