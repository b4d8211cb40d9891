"""Rows of radacct that rlm_sql, operators and other programs write."""

import pytest
from support.events import (
    CLASS,
    Example,
    Statement,
    example,
    interim,
    one,
    stop,
)
from support.outcomes import Counted

EXAMPLES = [
    example(
        "an operator's UPDATE that closes a session moves no counter",
        interim("10:10", 100, 200, 600),
        Statement(
            "UPDATE radacct SET acctstoptime = '2026-03-10 10:15Z', acctterminatecause = 'Lost-Service'"
        ),
        interim("10:20", 130, 190, 1200),
        **one("10:00 .. 10:15 Lost-Service", "130/200"),
    ),
    example(
        "a session that rlm_sql keeps is counted for its user",
        Statement(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                    acctinputoctets, acctoutputoctets)
               VALUES ('s9', 'u9', 'anna', '192.0.2.9', '2026-03-31 10:00Z', '2026-03-31 10:00Z', 0, 0)"""
        ),
        Statement(
            """UPDATE radacct SET acctupdatetime = '2026-03-31 23:50Z', acctinputoctets = 5, acctoutputoctets = 6"""
        ),
        Statement(
            """UPDATE radacct SET acctupdatetime = '2026-04-01 00:10Z', acctstoptime = '2026-04-01 00:10Z',
                                  acctterminatecause = 'User-Request', acctinputoctets = 15, acctoutputoctets = 26"""
        ),
        sessions=("anna 31 10:00 .. 2026-04-01 00:10 User-Request 15/26",),
        users=("anna 03-01 5/6", "anna 04-01 10/20"),
    ),
    example(
        "a row that another program inserts is dated by its last update, else its stop, else its start",
        Statement(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, router_id, acctstarttime,
                                    acctupdatetime, acctstoptime, acctinputoctets, acctoutputoctets)
               SELECT session, session, 'daily', '192.0.2.9', routers.id, began::timestamptz, heard::timestamptz,
                      ended::timestamptz, octets, 0
               FROM routers, (VALUES ('a', '2026-03-01 10:00Z', '2026-03-02 10:00Z', '2026-03-03 10:00Z', 1),
                                     ('b', '2026-03-04 10:00Z', NULL, '2026-03-05 10:00Z', 2),
                                     ('c', '2026-03-06 10:00Z', NULL, NULL, 4)
                             ) AS row (session, began, heard, ended, octets)
               WHERE routers.name = 'harbour'"""
        ),
        sessions=(
            "daily harbour 01 10:00 .. 03 10:00 1/0",
            "daily harbour 04 10:00 .. 05 10:00 2/0",
            "daily harbour 06 10:00 .. 4/0",
        ),
        users=("daily 03-02 1/0", "daily 03-05 2/0", "daily 03-06 4/0"),
        days=("harbour 03-02 1/0", "harbour 03-05 2/0", "harbour 03-06 4/0"),
    ),
    example(
        "octets that another program's UPDATE brings are dated by the row's last update, else its stop, else its start",
        Statement(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                    acctstoptime)
               VALUES ('a', 'a', 'daily', '192.0.2.9', '2026-03-01 10:00Z', '2026-03-02 10:00Z', '2026-03-03 10:00Z'),
                      ('b', 'b', 'daily', '192.0.2.9', '2026-03-04 10:00Z', NULL, '2026-03-05 10:00Z'),
                      ('c', 'c', 'daily', '192.0.2.9', '2026-03-06 10:00Z', NULL, NULL)"""
        ),
        Statement("UPDATE radacct SET acctinputoctets = ascii(acctsessionid) - 96, acctoutputoctets = 0"),
        sessions=(
            "daily 01 10:00 .. 03 10:00 1/0",
            "daily 04 10:00 .. 05 10:00 2/0",
            "daily 06 10:00 .. 3/0",
        ),
        users=("daily 03-02 1/0", "daily 03-05 2/0", "daily 03-06 3/0"),
    ),
    example(
        "an operator's UPDATE of the user moves the octets to the other user, each in its period",
        interim("2026-03-31 23:50", 100, 200, 600),
        interim("2026-04-01 00:10", 130, 240, 1800),
        Statement("UPDATE radacct SET username = 'bert'"),
        sessions=("bert harbour 31 23:40 .. 130/240",),
        users=("bert 03-01 100/200", "bert 04-01 30/40"),
        days=("harbour 03-31 100/200", "harbour 04-01 30/40"),
    ),
    example(
        "an operator's UPDATE of the router moves the octets to the other router, each on its day",
        interim("23:50", 100, 200, 600),
        interim("11 00:10", 130, 240, 1800),
        Statement("UPDATE radacct SET router_id = (SELECT id FROM routers WHERE name = 'hostel')"),
        sessions=("anna hostel 23:40 .. 130/240",),
        users=("anna 03-01 130/240",),
        days=("hostel 03-10 100/200", "hostel 03-11 30/40"),
    ),
    example(
        "'' is no user, as rlm_sql writes a packet without User-Name",
        Statement(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, router_id, acctstarttime,
                                    acctupdatetime, acctinputoctets, acctoutputoctets)
               SELECT 's9', 'u9', '', '192.0.2.9', id, '2026-03-30 10:00Z', '2026-03-30 11:00Z', 5, 6
               FROM routers WHERE name = 'harbour'"""
        ),
        Statement("UPDATE radacct SET acctupdatetime = '2026-03-30 12:00Z', acctinputoctets = 15"),
        sessions=("- harbour 30 10:00 .. 15/6",),
        days=("harbour 03-30 15/6",),
    ),
    example(
        "a user name that comes after '' gets all octets",
        interim("10:10", 100, 200, 600, more=CLASS, user=None),
        Statement("UPDATE radacct SET username = ''"),
        interim("10:20", 130, 240, 1200, more=CLASS),
        **one("10:00 ..", "130/240"),
    ),
    example(
        "a user name that comes after '' and the Stop gets all octets",
        stop("10:20", 130, 240, 1200, more=CLASS, user=None),
        Statement("UPDATE radacct SET username = ''"),
        interim("10:10", 100, 200, 600, more=CLASS, arrived="10:21"),
        **one("10:00 .. 10:20 User-Request", "130/240"),
    ),
    example(
        "a month of closed sessions that is deleted moves no counter",
        stop("10:10", 100, 200, 600),
        Statement("DELETE FROM radacct WHERE acctstoptime IS NOT NULL"),
        **{**one("", "100/200"), "sessions": ()},
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_other_writers(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome
