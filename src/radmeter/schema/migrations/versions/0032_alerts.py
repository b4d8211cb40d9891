"""Alerts: sites of routers, what is watched, the alerts themselves, mutes, and the e-mails that tell of them.

And how many logins were refused, for figures.

Revision ID: 0032
Revises: 0031
"""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

locks = {"public.routers": "ACCESS EXCLUSIVE"}

SITES = """
ALTER TABLE public.routers ADD COLUMN site text CHECK (length(site) BETWEEN 1 AND 200);
CREATE INDEX routers_site_idx ON public.routers (site) WHERE site IS NOT NULL;
COMMENT ON COLUMN public.routers.site IS
    'the place where it stands, as operators call it: routers of a site fail together';
"""

# due_at is in an index, so an update is not HOT. It is written about once in three interims of a router.
WATCHED = """
CREATE TABLE radmeter.router_watch (
    router_id   bigint PRIMARY KEY REFERENCES public.routers (id) ON DELETE CASCADE,
    phase       text NOT NULL DEFAULT 'idle' CHECK (phase IN ('idle', 'ok', 'pending', 'firing', 'clearing')),
    since       timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    expects     text NOT NULL DEFAULT 'nothing' CHECK (expects IN ('nothing', 'sessions', 'reaped')),
    interim     integer,
    arrived_at  timestamptz,
    heard_at    timestamptz,
    arrivals    smallint NOT NULL DEFAULT 0,
    reaped_at   timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX router_watch_due_idx ON radmeter.router_watch (due_at) WHERE phase IN ('idle', 'ok');
CREATE INDEX router_watch_silent_idx ON radmeter.router_watch (due_at)
    WHERE phase IN ('pending', 'firing', 'clearing');
COMMENT ON TABLE radmeter.router_watch IS 'whether each router is heard, as the jobs last looked';
COMMENT ON COLUMN radmeter.router_watch.phase IS
    'idle: nothing is expected of it; ok; pending: silent, but not for long enough; firing; clearing: heard again';
COMMENT ON COLUMN radmeter.router_watch.since IS 'since when it is in this phase';
COMMENT ON COLUMN radmeter.router_watch.due_at IS 'when it is looked at again: before, it cannot be silent';
COMMENT ON COLUMN radmeter.router_watch.expects IS
    'why packets of it are expected: sessions: it has open ones; reaped: the jobs closed them as stale';
COMMENT ON COLUMN radmeter.router_watch.interim IS 'seconds between its interims';
COMMENT ON COLUMN radmeter.router_watch.arrived_at IS 'arrival of its latest packet, by the clock of the RADIUS server';
COMMENT ON COLUMN radmeter.router_watch.heard_at IS 'the same, but no later than when it was first seen';
COMMENT ON COLUMN radmeter.router_watch.arrivals IS 'how often a later packet was seen since it was silent';
COMMENT ON COLUMN radmeter.router_watch.reaped_at IS 'when the jobs last closed a stale session of it';

CREATE TABLE radmeter.alert_watch (
    rule     text NOT NULL,
    subject  text NOT NULL,
    phase    text NOT NULL CHECK (phase IN ('pending', 'firing', 'clearing')),
    since    timestamptz NOT NULL,
    PRIMARY KEY (rule, subject)
) WITH (fillfactor = 70);
COMMENT ON TABLE radmeter.alert_watch IS 'what other rules watch and is not well: a site, the hour of a router, all';

CREATE TABLE radmeter.router_hour (
    router_id   bigint PRIMARY KEY REFERENCES public.routers (id) ON DELETE CASCADE,
    hour        timestamptz NOT NULL,
    base        numeric NOT NULL,
    before      numeric,
    before_usual numeric,
    usual       numeric[] NOT NULL DEFAULT '{}',
    days        smallint[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);
COMMENT ON TABLE radmeter.router_hour IS
    'what each router had counted when the hour under way began, and what is usual in each hour';
COMMENT ON COLUMN radmeter.router_hour.base IS
    'what was counted when the hour began: the sum of router_daily_usage from the day before the hour on (UTC)';
COMMENT ON COLUMN radmeter.router_hour.before IS 'counted in the hour before; NULL: it was not seen as a whole';
COMMENT ON COLUMN radmeter.router_hour.before_usual IS 'what was usual in the hour before; NULL: not known yet';
COMMENT ON COLUMN radmeter.router_hour.usual IS
    'octets in the hours 0 to 23 UTC, of days before; the latest count most';
COMMENT ON COLUMN radmeter.router_hour.days IS 'on how many days each hour was seen';

CREATE TABLE radmeter.alert_state (
    is_one          boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    ticked_at       timestamptz,
    resumed_at      timestamptz,
    hour            timestamptz,
    hour_is_whole   boolean NOT NULL DEFAULT false,
    before_is_whole boolean NOT NULL DEFAULT false,
    hours_at        timestamptz,
    hours_after     bigint,
    swept_at        timestamptz,
    review_after    bigint,
    notice_id       bigint,
    rules_digest    text,
    rules_file      text,
    rules_error     text,
    rules           jsonb NOT NULL DEFAULT '[]',
    mails           boolean NOT NULL DEFAULT false,
    mail_error      text
);
COMMENT ON TABLE radmeter.alert_state IS 'how far the jobs have watched; one row';
COMMENT ON COLUMN radmeter.alert_state.resumed_at IS 'when they began again after a pause';
COMMENT ON COLUMN radmeter.alert_state.hour IS 'the hour under way';
COMMENT ON COLUMN radmeter.alert_state.hour_is_whole IS 'it was seen from its beginning, without a backlog';
COMMENT ON COLUMN radmeter.alert_state.before_is_whole IS 'so was the hour before, from its beginning to its end';
COMMENT ON COLUMN radmeter.alert_state.hours_at IS 'when the routers were last gone through for spikes';
COMMENT ON COLUMN radmeter.alert_state.hours_after IS 'the router that was the last of them; NULL: all were';
COMMENT ON COLUMN radmeter.alert_state.review_after IS
    'the router that was the last one to be looked at by new rules; NULL: all were';
COMMENT ON COLUMN radmeter.alert_state.swept_at IS 'when all routers were last compared with router_watch';
COMMENT ON COLUMN radmeter.alert_state.notice_id IS 'the last quota notice of a minute ago';
COMMENT ON COLUMN radmeter.alert_state.rules IS 'the rules in force, for those who only read';
COMMENT ON COLUMN radmeter.alert_state.mails IS 'the rules in force name a mail server';
COMMENT ON COLUMN radmeter.alert_state.rules_error IS
    'why the file of rules cannot be used; the rules before stay in force';
COMMENT ON COLUMN radmeter.alert_state.mail_error IS 'why no e-mail can be sent';
INSERT INTO radmeter.alert_state DEFAULT VALUES;
"""

ALERTS = """
CREATE TABLE radmeter.alerts (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule           text NOT NULL,
    kind           text NOT NULL,
    severity       text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    router_id      bigint,
    site           text,
    username       text,
    began_at       timestamptz NOT NULL,
    fired_at       timestamptz NOT NULL,
    resolved_at    timestamptz,
    detail         jsonb NOT NULL DEFAULT '{}',
    folded_into    bigint REFERENCES radmeter.alerts (id) ON DELETE SET NULL,
    hold_until     timestamptz,
    hold_for       text CHECK (hold_for IN ('site', 'return')),
    webhooks       boolean NOT NULL DEFAULT true,
    mail_to        text[] NOT NULL DEFAULT '{}',
    announced_at   timestamptz,
    acked_at       timestamptz,
    acked_by       text,
    ack_note       text,
    notice_id      bigint
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX alerts_open_idx ON radmeter.alerts
    (rule, (coalesce(router_id, 0)), (CASE WHEN router_id IS NULL THEN coalesce(site, '') ELSE '' END),
     (coalesce(username, '')), (coalesce(notice_id, 0))) WHERE resolved_at IS NULL;
CREATE INDEX alerts_to_announce_idx ON radmeter.alerts ((coalesce(hold_until, '-infinity'::timestamptz)))
    WHERE announced_at IS NULL AND resolved_at IS NULL AND folded_into IS NULL;
CREATE INDEX alerts_folded_into_idx ON radmeter.alerts (folded_into) WHERE folded_into IS NOT NULL;
CREATE INDEX alerts_router_id_idx ON radmeter.alerts (router_id) WHERE resolved_at IS NULL;
CREATE INDEX alerts_site_idx ON radmeter.alerts (site) WHERE resolved_at IS NULL;
CREATE INDEX alerts_username_idx ON radmeter.alerts (username) WHERE username IS NOT NULL;
CREATE INDEX alerts_resolved_at_idx ON radmeter.alerts (resolved_at) WHERE resolved_at IS NOT NULL;
CREATE UNIQUE INDEX alerts_notice_id_idx ON radmeter.alerts (rule, notice_id) WHERE notice_id IS NOT NULL;
COMMENT ON TABLE radmeter.alerts IS 'what a rule found wrong, from when it fired until it was resolved';
COMMENT ON COLUMN radmeter.alerts.site IS 'of the router then; of a rule about sites: the site itself';
COMMENT ON COLUMN radmeter.alerts.began_at IS 'since when it was so; fired_at is later by the tolerance of the rule';
COMMENT ON COLUMN radmeter.alerts.folded_into IS 'the alert of the whole site, which was announced instead';
COMMENT ON COLUMN radmeter.alerts.hold_until IS 'nobody is told before';
COMMENT ON COLUMN radmeter.alerts.hold_for IS
    'site: whether the whole site is silent is not known yet; return: the site is back, the router may come yet';
COMMENT ON COLUMN radmeter.alerts.webhooks IS 'whether the rule tells webhooks';
COMMENT ON COLUMN radmeter.alerts.mail_to IS 'whom the rule tells by e-mail';
COMMENT ON COLUMN radmeter.alerts.announced_at IS 'NULL: nobody was told: it is folded, held or muted, or was';
COMMENT ON COLUMN radmeter.alerts.notice_id IS 'the quota notice that it is about';

CREATE TABLE radmeter.alert_mutes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule        text,
    router_id   bigint,
    site        text,
    username    text,
    until_at    timestamptz NOT NULL,
    note        text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL DEFAULT session_user,
    CHECK (num_nonnulls(rule, router_id, site, username) > 0)
);
CREATE INDEX alert_mutes_until_at_idx ON radmeter.alert_mutes (until_at);
COMMENT ON TABLE radmeter.alert_mutes IS 'alerts of which nobody is told until a time: NULL stands for any';
"""

# A mail names alerts, not users: it is worded when it is sent.
MAILS = """
CREATE TABLE radmeter.alert_mail (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    recipients     text[] NOT NULL CHECK (cardinality(recipients) > 0),
    state          text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'dead', 'dropped')),
    created_at     timestamptz NOT NULL,
    attempts       integer NOT NULL DEFAULT 0,
    next_try_at    timestamptz NOT NULL DEFAULT now(),
    claimed_by     uuid,
    claimed_until  timestamptz,
    tried_at       timestamptz,
    error          text,
    ended_at       timestamptz,
    CHECK ((ended_at IS NULL) = (state = 'waiting'))
);
CREATE INDEX alert_mail_due_idx ON radmeter.alert_mail (next_try_at) WHERE state = 'waiting';
CREATE INDEX alert_mail_recipients_idx ON radmeter.alert_mail (recipients, created_at DESC);
CREATE INDEX alert_mail_ended_at_idx ON radmeter.alert_mail (ended_at) WHERE ended_at IS NOT NULL;
COMMENT ON TABLE radmeter.alert_mail IS 'e-mails about alerts, to be sent by the jobs';
COMMENT ON COLUMN radmeter.alert_mail.message_id IS 'in the Message-ID: the same in each attempt';

CREATE TABLE radmeter.alert_mail_line (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id    bigint NOT NULL REFERENCES radmeter.alerts (id) ON DELETE CASCADE,
    type        text NOT NULL CHECK (type IN ('firing', 'resolved')),
    recipients  text[] NOT NULL,
    at          timestamptz NOT NULL,
    mail_id     bigint REFERENCES radmeter.alert_mail (id) ON DELETE CASCADE
);
CREATE INDEX alert_mail_line_waiting_idx ON radmeter.alert_mail_line (recipients) WHERE mail_id IS NULL;
CREATE INDEX alert_mail_line_mail_id_idx ON radmeter.alert_mail_line (mail_id);
CREATE INDEX alert_mail_line_alert_id_idx ON radmeter.alert_mail_line (alert_id);
COMMENT ON TABLE radmeter.alert_mail_line IS
    'what a mail tells: an alert that fired or was resolved; mail_id NULL: the next one';
"""

# Eight rows for each answer of radmeter.judge_login: radmeter.note_refused takes one that nobody has locked.
LOGINS = """
CREATE TABLE radmeter.refused_logins (
    reason  text NOT NULL,
    slot    smallint NOT NULL,
    logins  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (reason, slot)
) WITH (fillfactor = 20);
COMMENT ON TABLE radmeter.refused_logins IS 'how many logins were refused, by reason';
COMMENT ON COLUMN radmeter.refused_logins.slot IS 'so that logins need not wait for each other; the sum counts';
INSERT INTO radmeter.refused_logins (reason, slot)
SELECT reason, slot FROM unnest(ARRAY['over', 'time', 'expired', 'suspended', 'sessions', 'unknown']) AS reason,
                         generate_series(1, 8) AS slot;
"""


def upgrade() -> None:
    """Create the tables. Those that refer to no router come first: they lock nothing that others use."""
    op.execute(ALERTS)
    op.execute(MAILS)
    op.execute(LOGINS)
    op.execute(SITES)
    op.execute(WATCHED)
