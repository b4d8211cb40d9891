"""The largest and the smallest values that the tables take: no look, no login and no answer is an error."""

from datetime import date
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.ledger import empty
from support.servers import Connection

MOST = 2**63 - 1
BYTES = st.sampled_from((None, 0, 1, MOST - 1, MOST))
SOME_BYTES = st.sampled_from((0, 1, MOST - 1, MOST))
SECONDS = st.sampled_from((None, 0, 1, 3_155_760_000))
INSTANTS = st.sampled_from(
    (None, "-infinity", "4713-01-01 BC", "1970-01-01", "2026-11-01", "9999-12-31", "294276-12-31", "infinity")
)
DATES = st.sampled_from(
    (date(1, 1, 1), date(2026, 11, 1), date(9999, 12, 31), "5874897-12-31", "4713-01-01 BC")
)
PLAN = st.fixed_dictionaries(
    {
        "quota_type": st.sampled_from(("daily", "weekly", "monthly", "one-time")),
        "timezone": st.sampled_from(("UTC", "Pacific/Kiritimati", None)),
        "quota_bytes": BYTES, "quota_bytes_in": BYTES, "quota_bytes_out": BYTES, "rollover_bytes": BYTES,
        "quota_seconds": SECONDS, "valid_seconds": SECONDS.filter(lambda value: value != 0),
        "speed_up": BYTES.filter(bool), "session_timeout": st.sampled_from((None, 2**31 - 1)),
    }
)  # fmt: skip
TOP_UP = st.tuples(SOME_BYTES.filter(bool), st.booleans(), INSTANTS)
STORY = st.fixed_dictionaries(
    {
        "plan": PLAN,
        "also": st.none() | PLAN,
        "quota_start": DATES,
        "first_used_at": INSTANTS,
        "top_ups": st.lists(TOP_UP, max_size=3),
        "used": st.tuples(SOME_BYTES, SOME_BYTES),
        "former": st.tuples(SOME_BYTES, SOME_BYTES),
        "carried": SOME_BYTES,
        "booked": SOME_BYTES,
        "period": st.sampled_from((0, -1, -40, 40, None)),
        "settled_at": INSTANTS.filter(bool),
        "session": st.tuples(INSTANTS, INSTANTS),
    }
)


LARGEST: dict[str, Any] = {
    "plan": {"quota_type": "monthly", "quota_bytes": MOST, "rollover_bytes": MOST, "quota_seconds": 1},
    "also": None,
    "quota_start": date(2026, 11, 1),
    "first_used_at": None,
    "top_ups": [(MOST, False, None), (MOST, False, None)],
    "used": (MOST, MOST),
    "former": (MOST, MOST),
    "carried": MOST,
    "booked": MOST,
    "period": 0,
    "settled_at": "2026-11-01",
    "session": (None, None),
}


def add_plan(connection: Connection, name: str, plan: dict[str, Any]) -> int:
    columns = ", ".join(plan)
    row = connection.execute(
        f"INSERT INTO plans (name, {columns}) VALUES (%s{', %s' * len(plan)}) RETURNING id".encode(),
        (name, *plan.values()),
    ).fetchone()
    assert row is not None
    return int(row[0])


def tell(connection: Connection, story: dict[str, Any]) -> None:
    """Write what the tables take. Triggers are off: nothing is looked at yet."""
    plan = add_plan(connection, "p", story["plan"])
    connection.execute(
        "INSERT INTO plan_tiers VALUES (%s, 0, 1, 1), (%s, %s, NULL, NULL)", (plan, plan, MOST)
    )
    connection.execute(
        "INSERT INTO subscribers (username, plan_id, quota_start, first_used_at) VALUES ('bob', %s, %s, %s)",
        (plan, story["quota_start"], story["first_used_at"]),
    )
    if story["also"] is not None:
        also = add_plan(connection, "also", story["also"])
        connection.execute("INSERT INTO subscriber_plans VALUES ('bob', %s)", (also,))
    for octets, spent, expires in story["top_ups"]:
        connection.execute(
            "INSERT INTO top_ups (username, bytes, used_bytes, expires_at) VALUES ('bob', %s, %s, %s)",
            (octets, octets if spent else 0, expires),
        )
    started, heard = story["session"]
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                acctinputoctets, acctoutputoctets)
           VALUES ('s', 's', 'bob', '10.0.0.1', %s, %s, 0, 0)""",
        (started or "2026-01-01", heard),
    )
    current = "radmeter.user_period_start('bob', now())"
    counter = (
        f"INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out) VALUES ('bob', {current}"
    )
    connection.execute(f"{counter}, %s, %s)".encode(), story["used"])
    if story["period"] is None or story["plan"]["quota_type"] == "one-time":
        return
    if story["period"]:
        connection.execute(f"{counter} + %s, %s, %s)".encode(), (story["period"], *story["former"]))
    connection.execute(
        f"""INSERT INTO radmeter.quota_account (username, plan_id, period_start, carried_bytes, settled_at, plan_bytes,
                                                plan_in, plan_out)
            VALUES ('bob', %s, {current} + %s, %s, %s, %s, %s, %s)""".encode(),
        (plan, story["period"], story["carried"], story["settled_at"],
         *(story["plan"].get(name) for name in ("quota_bytes", "quota_bytes_in", "quota_bytes_out"))),
    )  # fmt: skip
    connection.execute(
        f"""INSERT INTO radmeter.quota_booked
            VALUES ('bob', {current}, %(booked)s), ('bob', {current} - 1, %(booked)s)""".encode(),
        story,
    )


def test_no_value_is_an_error(connection: Connection) -> None:
    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @example(story=LARGEST)
    @example(story={**LARGEST, "plan": {"quota_type": "monthly", "quota_bytes": 0, "quota_bytes_in": 0}})
    @example(story={**LARGEST, "plan": {"quota_type": "daily", "quota_bytes": 0}, "booked": 0, "period": -1})
    @example(story={**LARGEST, "plan": {"quota_type": "daily", "quota_bytes": MOST}, "period": -1})
    @example(
        story={**LARGEST, "plan": {"quota_type": "daily", "valid_seconds": 9}, "first_used_at": "infinity"}
    )
    @example(
        story={
            **LARGEST,
            "plan": {"quota_type": "one-time", "quota_seconds": 9},
            "quota_start": "5874897-12-31",
        }
    )
    @given(story=STORY)
    def check(story: dict[str, Any]) -> None:
        empty(connection)
        connection.execute("SET session_replication_role = replica")
        tell(connection, story)
        connection.execute("RESET session_replication_role")
        for at in ("now()", "now() + interval '40 days'"):
            row = connection.execute(
                f"""SELECT remaining_bytes >= 0, percent BETWEEN 0 AND 100, to_jsonb(state)
                    FROM radmeter.quota_state('{{bob}}', {at}) AS state""".encode()
            ).fetchone()
            assert row is not None
            assert row[0] is not False
            assert row[1]
        login = "SELECT * FROM radmeter.authorize(%s, '', '', '', '10.0.0.1', '')"
        connection.execute(login.encode(), (b"bob".hex(),))
        for counted in (True, False):
            connection.execute("SELECT radmeter.apply_quotas('{bob}', %s)", (counted,))
        connection.execute(
            "UPDATE radacct SET acctinputoctets = 5, acctoutputoctets = 5, acctupdatetime = now()"
        )
        faults = connection.execute(
            "SELECT error FROM radmeter.quota_change WHERE error IS NOT NULL"
        ).fetchall()
        assert faults == []

    check()
