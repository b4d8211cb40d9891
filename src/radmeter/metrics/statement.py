"""The one statement that reads all figures of the database. It reads, and waits for nobody.

It reads the open sessions once, the counters of the last days of each router by their index, and otherwise what is
small or has an index. With 100,000 open sessions and 10,000 routers that takes about 50 ms (docs/decisions.md).
"""

# How long the statement may take. A database that is slower is too busy to be asked.
TIMEOUT_MS = 3000
# jit would take longer than the statement itself.
BEFORE = f"SET LOCAL statement_timeout = {TIMEOUT_MS}; SET LOCAL lock_timeout = 500; SET LOCAL jit = off"

# Counters from rows: those of the last LATE_SECONDS are read each time, since a transaction may add a row that is dated
# before rows that were read already. Those that were read before are known by their ids (`seen`), so a row counts once,
# also if it is removed or changed later. What commits later than that after its beginning is missed.
LATE_SECONDS = 300
ROWS = ("rejected", "anomalies", "decisions", "requests")
# At most so many rows of a kind are looked at in one reading.
MOST_ROWS = 100_000
MOST_NODES = 500
MOST_STATEMENTS = 10

# The upper bounds of the round trips of requests to routers, in seconds.
ROUND_TRIPS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# Where the extension is, if it is loaded.
OPTIONAL = """
SELECT (SELECT quote_ident(namespace.nspname) FROM pg_extension AS extension
        JOIN pg_namespace AS namespace ON namespace.oid = extension.extnamespace
        WHERE extension.extname = 'pg_stat_statements'
          AND current_setting('pg_stat_statements.max', true) IS NOT NULL)"""

# Not the text of utility statements: it may have a password.
STATEMENTS = """
SELECT id, left(regexp_replace(query, '\\s+', ' ', 'g'), 80) AS statement, calls, seconds
FROM (SELECT queryid::text AS id, min(query) AS query, sum(calls) AS calls, sum(total_exec_time) / 1000 AS seconds
      FROM {schema}.pg_stat_statements
      WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND queryid IS NOT NULL AND query ~* '^\\s*(select|insert|update|delete|merge|with)\\M'
      GROUP BY queryid  -- there is a row for each role
      ORDER BY sum(total_exec_time) DESC LIMIT %(statements)s) AS statement"""
NO_STATEMENTS = (
    "SELECT NULL::text AS id, NULL::text AS statement, 0::bigint AS calls, 0::float8 AS seconds WHERE false"
)

FIGURES = """
WITH reach AS MATERIALIZED (
    SELECT coalesce((SELECT received_at FROM radmeter.lagging_nodes() ORDER BY received_at LIMIT 1), now()) AS at,
           radmeter.setting_value('stale_minutes')::integer AS minutes,
           coalesce(%(since)s::timestamptz, now()) AS since
), at_router AS MATERIALIZED (
    -- Stale as in radmeter.stale_sessions. Few sessions are older than the shortest time, and only those are judged.
    SELECT session.router_id, count(*) AS sessions,
           count(*) FILTER (
               WHERE session.last_at < (SELECT at - minutes * interval '1 minute' FROM reach)
                 AND session.last_at < (SELECT at FROM reach) - radmeter.stale_after(
                     session.interim_interval,
                     (SELECT interim_interval FROM public.routers AS router WHERE router.id = session.router_id),
                     (SELECT minutes FROM reach))) AS stale,
           max(session.last_at) AS last_at,
           bool_or(session.clock_skew_seconds NOT BETWEEN -604800 AND 300) AS wrong_clock
    FROM (SELECT router_id, coalesce(arrived_at, acctupdatetime, acctstarttime) AS last_at, interim_interval,
                 clock_skew_seconds
          FROM public.radacct WHERE acctstoptime IS NULL) AS session
    GROUP BY session.router_id
), own AS MATERIALIZED (
    SELECT router.id, router.name, router.interim_interval, coalesce(merged.ids, '{}') AS merged
    FROM (SELECT id, name, interim_interval FROM public.routers
          WHERE status = 'active' AND merged_into IS NULL ORDER BY id LIMIT %(routers)s) AS router
    LEFT JOIN (SELECT merged_into, array_agg(id) AS ids FROM public.routers
               WHERE merged_into IS NOT NULL AND %(routers)s > 0 GROUP BY 1) AS merged ON merged.merged_into = router.id
), node AS MATERIALIZED (
    SELECT CASE WHEN starts_with(node, 'detail:') THEN 'detail' ELSE node END AS node, sum(records)::bigint AS records,
           sum(rejected)::bigint AS rejected, sum(ignored)::bigint AS ignored, max(last_received_at) AS received_at,
           max(updated_at) AS updated_at,
           max(extract(epoch FROM updated_at - last_received_at)) FILTER (
               WHERE updated_at > now() - interval '10 minutes' AND NOT starts_with(node, 'detail:')
                 AND node <> 'retry')::float8 AS lag
    FROM radmeter.nodes GROUP BY 1 ORDER BY max(updated_at) DESC LIMIT %(nodes)s
), rejected AS MATERIALIZED (
    SELECT id, left(reason, 80) AS reason FROM public.rejected_packet
    WHERE rejected_at > (SELECT since FROM reach) ORDER BY rejected_at, id LIMIT %(rows)s
), anomaly AS MATERIALIZED (
    SELECT id, kind FROM public.accounting_anomaly
    WHERE detected_at > (SELECT since FROM reach) ORDER BY detected_at, id LIMIT %(rows)s
), decision AS MATERIALIZED (
    SELECT id, kind FROM radmeter.quota_notice
    WHERE quota_notice.at > (SELECT since FROM reach) ORDER BY quota_notice.at, id LIMIT %(rows)s
), request AS MATERIALIZED (
    SELECT id, act, state, extract(epoch FROM answered_at - sent_at)::float8 AS seconds FROM radmeter.disconnect_queue
    WHERE ended_at IS NOT NULL AND ended_at > (SELECT since FROM reach) ORDER BY ended_at, id LIMIT %(rows)s
), new_request AS MATERIALIZED (
    SELECT act, state, seconds FROM request WHERE NOT %(seen_requests)s::int8multirange @> id
), slowest AS MATERIALIZED ({statements})
SELECT json_build_object(
    'now', extract(epoch FROM clock_timestamp()),
    'since', (SELECT greatest(since, now() - %(late)s * interval '1 second') FROM reach),
    'day', (now() AT TIME ZONE 'UTC')::date - 1, 'version', current_setting('server_version'),
    'revision', (SELECT max(version_num) FROM radmeter.alembic_version),
    'standby', pg_is_in_recovery(),
    'sessions', (SELECT json_build_object(
        'open', coalesce(sum(sessions), 0), 'stale', coalesce(sum(stale), 0),
        'reporting', count(*) FILTER (WHERE stale < sessions AND router_id IS NOT NULL),
        'wrong_clock', count(*) FILTER (WHERE wrong_clock AND router_id IS NOT NULL)) FROM at_router),
    -- What the jobs found, as on the pages and in alerts.
    'silent', (SELECT count(*) FROM radmeter.router_watch AS watch JOIN public.routers AS router
                   ON router.id = watch.router_id
               WHERE watch.phase IN ('pending', 'firing') AND router.status = 'active' AND router.merged_into IS NULL),
    'days', (SELECT json_agg(json_build_array(usage_date, bytes_in, bytes_out))
             FROM (SELECT usage.usage_date, sum(usage.bytes_in) AS bytes_in, sum(usage.bytes_out) AS bytes_out
                   -- OFFSET 0: each router by the index, however many days there are. The first day is a value that the
                   -- planner sees: else it takes a bitmap for each router, which is twice as slow.
                   FROM public.routers AS router CROSS JOIN LATERAL (
                       SELECT day.usage_date, day.bytes_in, day.bytes_out FROM public.router_daily_usage AS day
                       WHERE day.router_id = router.id AND day.usage_date
                           >= coalesce(%(from_day)s::date, (now() AT TIME ZONE 'UTC')::date - 1)
                       OFFSET 0) AS usage
                   GROUP BY usage.usage_date) AS day),
    'nodes', (SELECT json_agg(json_build_object(
        'node', node, 'records', records, 'rejected', rejected, 'ignored', ignored,
        'received', extract(epoch FROM received_at), 'updated', extract(epoch FROM updated_at), 'lag', lag)
        ORDER BY node) FROM node),
    'routers', (SELECT json_object_agg(status, number) FROM (
        SELECT CASE WHEN merged_into IS NULL THEN status ELSE 'merged' END AS status, count(*) AS number
        FROM public.routers GROUP BY 1) AS counted),
    'seen', json_build_object(
        'rejected', (SELECT range_agg(int8range(id, id, '[]')) FROM rejected),
        'anomalies', (SELECT range_agg(int8range(id, id, '[]')) FROM anomaly),
        'decisions', (SELECT range_agg(int8range(id, id, '[]')) FROM decision),
        'requests', (SELECT range_agg(int8range(id, id, '[]')) FROM request)),
    'rejected', (SELECT json_agg(json_build_array(reason, number)) FROM (
        SELECT reason, count(*) AS number FROM rejected
        WHERE NOT %(seen_rejected)s::int8multirange @> id GROUP BY 1) AS counted),
    'rejected_bytes', pg_total_relation_size('public.rejected_packet'),
    'anomalies', (SELECT json_agg(json_build_array(kind, number)) FROM (
        SELECT kind, count(*) AS number FROM anomaly
        WHERE NOT %(seen_anomalies)s::int8multirange @> id GROUP BY 1) AS counted),
    'decisions', (SELECT json_agg(json_build_array(kind, number)) FROM (
        SELECT kind, count(*) AS number FROM decision
        WHERE NOT %(seen_decisions)s::int8multirange @> id GROUP BY 1) AS counted),
    'refused_logins', (SELECT json_object_agg(reason, number) FROM (
        SELECT reason, sum(logins) AS number FROM radmeter.refused_logins GROUP BY 1) AS counted),
    'requests', (SELECT json_agg(json_build_array(act, state, number)) FROM (
        SELECT act, state, count(*) AS number FROM new_request GROUP BY 1, 2) AS counted),
    -- By how many of the bounds are below it: one of exactly a bound is within that bound.
    'round_trips', (SELECT json_agg(json_build_array(bucket, number, seconds)) FROM (
        SELECT (SELECT count(*) FROM unnest(%(round_trips)s::float8[]) AS bound
                WHERE bound < request.seconds) AS bucket, count(*) AS number,
               sum(greatest(request.seconds, 0)) AS seconds
        FROM new_request AS request WHERE request.seconds IS NOT NULL GROUP BY 1) AS counted),
    'queue', (SELECT json_build_object('waiting', count(*), 'oldest', extract(epoch FROM now() - min(created_at)))
              FROM radmeter.disconnect_queue WHERE ended_at IS NULL),
    'not_answering', (SELECT count(*) FROM radmeter.router_coa_state WHERE silent_since IS NOT NULL),
    'quota_users', (SELECT json_object_agg(status, number) FROM (
        SELECT status, count(*) AS number FROM radmeter.quota_account WHERE status <> 'active' GROUP BY 1) AS counted),
    'quota_overdue', (SELECT extract(epoch FROM now() - least(
        (SELECT at FROM radmeter.quota_change WHERE error IS NULL ORDER BY id LIMIT 1),
        (SELECT min(due_at) FROM radmeter.quota_account WHERE due_at IS NOT NULL)))),
    'webhooks_waiting', (SELECT count(*) FROM radmeter.webhook_delivery WHERE state = 'waiting'),
    'drafts', (SELECT count(*) FROM public.invoices WHERE issued_at IS NULL AND status = 'draft'),
    'issued', (SELECT coalesce(sum(last), 0) FROM radmeter.document_number WHERE kind = 'invoice'),
    'credited', (SELECT coalesce(sum(last), 0) FROM radmeter.document_number WHERE kind = 'credit_note'),
    'voided', (SELECT count(*) FROM public.credit_notes WHERE voids),
    'closed_month', (SELECT extract(epoch FROM max(period)) FROM radmeter.billing_close WHERE tenant_id IS NULL),
    'leases', (SELECT json_object_agg(name, extract(epoch FROM renewed_at)) FROM radmeter.lease),
    'alerts', (SELECT json_object_agg(severity, number) FROM (
        SELECT severity, count(*) AS number FROM radmeter.alerts
        WHERE resolved_at IS NULL AND folded_into IS NULL GROUP BY 1) AS counted),
    'alerts_looked', (SELECT extract(epoch FROM ticked_at) FROM radmeter.alert_state),
    'alert_mails', (SELECT json_build_object('waiting', count(*), 'oldest', extract(epoch FROM now() - min(created_at)))
                    FROM radmeter.alert_mail WHERE state = 'waiting'),
    'dead_alert_mails', (SELECT count(*) FROM radmeter.alert_mail
                         WHERE state = 'dead' AND ended_at > now() - interval '1 day'),
    'jobs', (SELECT json_agg(json_build_object(
        'job', job, 'succeeded', extract(epoch FROM succeeded_at), 'failed', extract(epoch FROM failed_at),
        'error', error)) FROM radmeter.job_result),
    'backfill', (SELECT json_build_object(
        'ids', last_id - first_id + 1,
        'counted', (SELECT coalesce(sum(upper(span) - lower(span)), 0) FROM unnest(counted) AS span))
        FROM radmeter.backfill),
    'incidents', (SELECT json_agg(json_build_array(kind, number, records)) FROM (
        SELECT kind, count(*) AS number, coalesce(sum(records), 0) AS records
        FROM radmeter.journal_incidents WHERE open GROUP BY 1) AS counted),
    'connections', (SELECT count(*) FROM pg_stat_activity
                    WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'),
    'connections_allowed', current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true), '0')::integer,
    'database_bytes', pg_database_size(current_database()),
    'data_directory', CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE')
                           THEN current_setting('data_directory') END,
    'wal_archived', (SELECT extract(epoch FROM last_archived_time) FROM pg_stat_archiver),
    'wal_failed', (SELECT failed_count FROM pg_stat_archiver),
    'left_out_routers', (SELECT greatest(0, count(*) - %(routers)s) FROM public.routers
                         WHERE %(routers)s > 0 AND status = 'active' AND merged_into IS NULL),
    -- With the days of the routers that were merged into it: while a merge goes on, sessions move from those to these.
    'own', (SELECT json_agg(json_build_object(
        'id', own.id, 'name', own.name, 'merged', cardinality(own.merged), 'sessions', coalesce(at_router.sessions, 0),
        'interim', own.interim_interval,
        'last', extract(epoch FROM greatest(at_router.last_at, usage.last_at)), 'days', usage.days) ORDER BY own.id)
        FROM own LEFT JOIN at_router ON at_router.router_id = own.id
        LEFT JOIN LATERAL (
            SELECT max(day.last_at) AS last_at,
                   json_agg(json_build_array(day.usage_date, day.bytes_in, day.bytes_out)) AS days
            FROM (SELECT usage_date, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
                         max(last_updated) AS last_at
                  FROM public.router_daily_usage
                  WHERE router_id = ANY (own.id || own.merged)
                    AND usage_date >= coalesce(%(from_day)s::date, (now() AT TIME ZONE 'UTC')::date - 1)
                  GROUP BY usage_date) AS day) AS usage ON true),
    'statements', (SELECT json_agg(slowest) FROM slowest)
)"""
