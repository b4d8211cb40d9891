-- The read interface: tools and people read these views, not the tables. New columns go to the end of a view
-- (PostgreSQL manual, CREATE VIEW).
CREATE OR REPLACE VIEW radmeter.user_usage AS
SELECT username, period_start, bytes_in, bytes_out,
       bytes_in::numeric + bytes_out AS bytes_total, last_updated
FROM public.user_quota_usage;

-- The rights and policies of the caller hold in this view and in router_usage: tenants see their own rows. Of a router that
-- was a tenant's before, it sees the name and the MAC. (SELECT ..): settings are read once for a page, not for each router.
CREATE OR REPLACE VIEW radmeter.router_list WITH (security_invoker = true) AS
SELECT router.id, router.name, router.mac, router.nas_identifier, router.ip_address, router.status,
       coalesce(router.timezone, (SELECT radmeter.setting_value('timezone'))) AS timezone, router.created_at,
       (now() AT TIME ZONE coalesce(router.timezone, (SELECT radmeter.setting_value('timezone'))))::date AS today,
       router.discovery_key, router.updated_at, router.merged_into, router.merged_at, router.interim_interval,
       extract(epoch FROM radmeter.stale_after(NULL, router.interim_interval,
           (SELECT radmeter.setting_value('stale_minutes'))::integer))::integer AS stale_after_seconds,
       router.clients, router.plausible_mbit_per_second, router.tenant_id::bigint AS tenant_id,
       (SELECT tenant.name FROM radmeter.tenants AS tenant WHERE tenant.id = router.tenant_id) AS tenant, router.site
FROM public.routers AS router
UNION ALL
SELECT former.id, former.name, former.mac, NULL, NULL, former.status,
       coalesce(former.timezone, (SELECT radmeter.setting_value('timezone'))), former.created_at,
       (now() AT TIME ZONE coalesce(former.timezone, (SELECT radmeter.setting_value('timezone'))))::date,
       NULL, former.created_at, NULL, NULL, NULL,
       extract(epoch FROM radmeter.stale_after(NULL, NULL,
           (SELECT radmeter.setting_value('stale_minutes'))::integer))::integer,
       NULL, NULL, NULL, NULL, NULL
FROM radmeter.former_routers() AS former;

CREATE OR REPLACE VIEW radmeter.router_usage WITH (security_invoker = true) AS
SELECT router.id AS router_id, router.name, router.mac, usage.usage_date, usage.bytes_in, usage.bytes_out,
       usage.bytes_in::numeric + usage.bytes_out AS bytes_total, usage.last_updated
FROM public.router_daily_usage AS usage JOIN radmeter.router_list AS router ON router.id = usage.router_id;

CREATE OR REPLACE VIEW radmeter.sessions AS
SELECT session.radacctid, session.acctuniqueid, session.acctsessionid, session.username,
       session.router_id, router.name AS router_name, router.mac AS router_mac,
       session.acctstarttime, session.acctupdatetime, session.acctstoptime, session.acctsessiontime,
       session.acctinputoctets AS bytes_in, session.acctoutputoctets AS bytes_out,
       session.callingstationid, session.framedipaddress, session.acctterminatecause, session.closed_by
FROM public.radacct AS session LEFT JOIN public.routers AS router ON router.id = session.router_id;

-- The sessions at the routers of the tenant that asks. Not the address and the MAC of the user's device.
CREATE OR REPLACE VIEW radmeter.tenant_sessions WITH (security_barrier = true) AS
SELECT radacctid, acctsessionid, username, router_id, router_name, router_mac, acctstarttime, acctupdatetime, acctstoptime,
       acctsessiontime, bytes_in, bytes_out, acctterminatecause
FROM radmeter.own_sessions();

-- The open sessions of a router, and how far its clock was off in its latest packet with an Event-Timestamp.
CREATE OR REPLACE VIEW radmeter.router_activity AS
SELECT router_id, count(*) AS open_sessions, max(arrived_at) AS last_packet_at,
       (array_agg(clock_skew_seconds ORDER BY arrived_at DESC)
           FILTER (WHERE clock_skew_seconds IS NOT NULL))[1] AS clock_skew_seconds
FROM public.radacct WHERE acctstoptime IS NULL GROUP BY router_id;

-- How far a router's clock is off, from its open sessions and those that began in the last two days. The value of each
-- session is the Event-Timestamp of its latest packet less the arrival: their median, and the span of the middle half.
-- unbelievable_sessions: how many values were more than 7 days before or 5 minutes after the arrival, so that the
-- Event-Timestamp was not used (docs/architecture.md).
CREATE OR REPLACE VIEW radmeter.router_clock AS
SELECT router_id, count(*) AS sessions, count(clock_skew_seconds) AS stamped_sessions,
       count(*) FILTER (WHERE clock_skew_seconds NOT BETWEEN -604800 AND 300) AS unbelievable_sessions,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY clock_skew_seconds) AS median_seconds,
       percentile_disc(0.75) WITHIN GROUP (ORDER BY clock_skew_seconds)
           - percentile_disc(0.25) WITHIN GROUP (ORDER BY clock_skew_seconds) AS spread_seconds
-- A router can send any Event-Timestamp, so the values are bounded: their difference must be a bigint.
FROM (SELECT router_id, CASE WHEN abs(clock_skew_seconds / 2) < 4999999999 THEN clock_skew_seconds
                             WHEN clock_skew_seconds < 0 THEN -9999999999 WHEN clock_skew_seconds > 0 THEN 9999999999 END AS clock_skew_seconds
      FROM public.radacct WHERE acctstoptime IS NULL
      UNION ALL
      SELECT router_id, CASE WHEN abs(clock_skew_seconds / 2) < 4999999999 THEN clock_skew_seconds
                             WHEN clock_skew_seconds < 0 THEN -9999999999 WHEN clock_skew_seconds > 0 THEN 9999999999 END FROM public.radacct
      WHERE acctstoptime >= now() - interval '2 days' AND acctstarttime >= now() - interval '2 days') AS recent
GROUP BY router_id;

CREATE OR REPLACE VIEW radmeter.user_plans AS
SELECT subscriber.username, plan.name AS plan, plan.quota_type, plan.quota_bytes
FROM public.subscribers AS subscriber JOIN public.plans AS plan ON plan.id = subscriber.plan_id;

-- How far each journal, each detail file and retry is ingested. updated_at: when its last batch was.
CREATE OR REPLACE VIEW radmeter.nodes AS
SELECT node, max(last_seq) AS last_seq, sum(records)::bigint AS records, sum(rejected)::bigint AS rejected,
       max(last_received_at) AS last_received_at,
       coalesce(max(updated_at) FILTER (WHERE records > 0), max(updated_at)) AS updated_at,
       max(owner) AS role, sum(ignored)::bigint AS ignored
FROM (SELECT source AS node, last_seq, records, rejected, last_received_at, updated_at, role AS owner, ignored
      FROM public.ingest_checkpoint
      UNION ALL
      SELECT node, last_seq, records, rejected, last_received_at, updated_at, NULL::text AS owner, ignored
      FROM radmeter.journal_segment) AS part
GROUP BY node;

-- The segments of journals, and how far each is ingested.
CREATE OR REPLACE VIEW radmeter.journal_segments AS
SELECT id, node, role, format, first_seq, previous, last_seq, digest, records, rejected, ignored, last_received_at,
       registered_at, updated_at, seen_at, finished_at
FROM radmeter.journal_segment;

-- What shippers found about their journals that a person should know. open: nobody has acknowledged it, and it has not
-- ended by itself.
CREATE OR REPLACE VIEW radmeter.journal_incidents AS
SELECT id, kind, node, segment, first_seq, last_seq, records, from_at, to_at, detail, role, found_at, settled_at,
       acknowledged_at, acknowledged_by, reason, acknowledged_at IS NULL AND settled_at IS NULL AS open
FROM radmeter.journal_incident;

-- What was left out because of a limit: rejected packets by node, client and hour of arrival, anomalies by router and hour.
CREATE OR REPLACE VIEW radmeter.left_out AS
SELECT kind, nullif(source, '') AS node, client, hour, kept, left_out, salvaged, first_seq, last_seq
FROM radmeter.kept_per_hour WHERE left_out > 0;

-- How many new user names each RADIUS client brought in each hour.
CREATE OR REPLACE VIEW radmeter.new_users AS
SELECT client, hour, kept AS users FROM radmeter.kept_per_hour WHERE kind = 'new user';

CREATE OR REPLACE VIEW radmeter.totals AS
SELECT (SELECT count(*) FROM public.radacct WHERE acctstoptime IS NULL) AS open_sessions,
       (SELECT count(*) FROM public.rejected_packet) AS rejected_packets,
       (SELECT count(*) FROM public.routers WHERE status = 'discovered') AS discovered_routers,
       pg_total_relation_size('public.rejected_packet') AS rejected_bytes,
       (SELECT count(*) FROM public.accounting_anomaly) AS anomalies,
       pg_total_relation_size('public.accounting_anomaly') AS anomaly_bytes,
       (SELECT coalesce(sum(left_out), 0)::bigint FROM radmeter.kept_per_hour
        WHERE updated_at > now() - interval '1 day') AS left_out_today,
       (SELECT coalesce(sum(ignored), 0)::bigint FROM public.ingest_checkpoint)
           + (SELECT coalesce(sum(ignored), 0)::bigint FROM radmeter.journal_segment) AS ignored_packets,
       (SELECT max(cleared_at) FROM radmeter.cleared_partition) AS personal_cleared_at;

-- The partitions of radacct: from_at is included, to_at is not; both NULL for the open sessions' partition.
CREATE OR REPLACE VIEW radmeter.partitions AS
SELECT name, from_at, to_at, relid FROM radmeter.radacct_partitions();

-- Partitions that are or were archived in files (radmeter partitions archive).
CREATE OR REPLACE VIEW radmeter.archives AS
SELECT id, name, from_at, to_at, state, file, session_rows, file_bytes, file_sha256, checksum, version,
       began_at, written_at, detached_at, archived_at, restored_at
FROM radmeter.archived_partition;

-- RADIUS clients that reached the limit discoveries_per_client_hour, for as long as they are remembered.
-- keys: about how many routers were beyond it in that hour, from the share of hash bits that are not set.
CREATE OR REPLACE VIEW radmeter.discovery_limits AS
SELECT count.client, router.id AS router_id, router.name AS router_name, count.beyond_from, count.beyond_until,
       round(-4096 * ln(greatest(4096 - bit_count(count.beyond_keys), 1) / 4096.0))::bigint AS keys
FROM radmeter.discovery_count AS count
LEFT JOIN public.routers AS found ON found.discovery_key = 'limit:' || count.client
LEFT JOIN public.routers AS router ON router.id = coalesce(found.merged_into, found.id)
WHERE count.beyond_until IS NOT NULL;

-- The networks from which each router's packets came lately. elsewhere_too: packets came from another network at the
-- same time. A site whose address changes leaves one network for the other, and its times do not overlap by more than
-- the 10 minutes that packets may be late.
CREATE OR REPLACE VIEW radmeter.router_networks AS
SELECT known.router_id, known.network, known.first_seen, known.last_seen,
       EXISTS (SELECT FROM radmeter.router_network AS other
               WHERE other.router_id = known.router_id AND other.network <> known.network
                 AND other.first_seen + interval '10 minutes' < known.last_seen
                 AND known.first_seen + interval '10 minutes' < other.last_seen) AS elsewhere_too
FROM radmeter.router_network AS known;

-- The endpoints of webhooks, without their secrets. A path is often a secret, too: only who may read the secrets sees it.
-- waiting, dead: deliveries. delivered_at: when it last took one.
CREATE OR REPLACE VIEW radmeter.webhooks AS
SELECT webhook.id,
       CASE WHEN has_function_privilege('radmeter.webhook_secrets(bigint)', 'EXECUTE') THEN webhook.url
            ELSE substring(webhook.url FROM '^https?://[^/?#]+') || '/...' END AS url,
       webhook.events,
       CASE WHEN webhook.retired_at IS NOT NULL THEN 'retired' WHEN webhook.switched_off_at IS NOT NULL THEN 'off'
            WHEN webhook.paused_until > now() THEN 'paused' ELSE 'on' END AS state,
       -- Each number is a query of its own, which reads only the index, and nothing if it is not asked for.
       (SELECT count(*) FROM radmeter.webhook_delivery AS each
        WHERE each.webhook_id = webhook.id AND each.state = 'waiting') AS waiting,
       (SELECT count(*) FROM radmeter.webhook_delivery AS each
        WHERE each.webhook_id = webhook.id AND each.state = 'dead') AS dead,
       (SELECT max(each.ended_at) FROM radmeter.webhook_delivery AS each
        WHERE each.webhook_id = webhook.id AND each.state = 'done') AS delivered_at,
       (SELECT min(each.happened_at) FROM radmeter.webhook_delivery AS each
        WHERE each.webhook_id = webhook.id AND each.state = 'waiting') AS waiting_since, webhook.failures,
       CASE WHEN webhook.former_until > now() THEN webhook.former_until END AS former_secret_until,
       webhook.created_at, webhook.created_by, webhook.switched_off_at, webhook.retired_at
FROM radmeter.webhook;

-- How requests reach routers, and how they answered. Not the secret.
CREATE OR REPLACE VIEW radmeter.router_requests AS
SELECT router.id AS router_id, coalesce(coa.vendor, 'generic') AS vendor,
       radmeter.coa_address(router.id) AS address, coalesce(coa.port, profile.coa_port) AS port,
       coa.secret IS NOT NULL AS has_secret, coa.source_address,
       coalesce(coa.message_authenticator, true) AS message_authenticator, coalesce(coa.swapped, false) AS swapped,
       profile.takes_coa AND (state.coa_works IS NOT false OR state.learned_at <= now() - interval '1 day') AS takes_coa,
       state.silent_since, state.next_try_at,
       state.last_answer_at, state.last_error
FROM public.routers AS router
LEFT JOIN radmeter.router_coa AS coa ON coa.router_id = router.id
LEFT JOIN radmeter.router_coa_state AS state ON state.router_id = router.id
LEFT JOIN radmeter.vendor_profiles() AS profile ON profile.vendor = coalesce(coa.vendor, 'generic');

-- Alerts, open and past. subject: what is wrong, for people; a router by the name that known_as() of
-- src/radmeter/routers/lookup.py gives. state: firing; clearing: it is well again, but not for long enough; resolved.
-- folded: how many alerts this one stands for. muted_until: nobody is told of it before.
CREATE OR REPLACE VIEW radmeter.alert_list AS
SELECT alert.id, alert.rule, alert.kind, alert.severity,
       CASE WHEN alert.resolved_at IS NOT NULL THEN 'resolved'
            WHEN coalesce(watch.phase, other.phase) = 'clearing' THEN 'clearing' ELSE 'firing' END AS state,
       CASE WHEN alert.username IS NOT NULL THEN 'user ' || alert.username
            WHEN router.status = 'discovered' THEN
                concat('router ', coalesce(nullif(router.nas_identifier, ''), router.name), ' (discovered)')
            WHEN alert.router_id IS NOT NULL THEN 'router ' || coalesce(router.name, '#' || alert.router_id)
            WHEN alert.site IS NOT NULL THEN 'site ' || alert.site ELSE 'all routers' END AS subject,
       alert.router_id, router.name AS router, alert.site, alert.username, alert.began_at, alert.fired_at,
       alert.resolved_at, alert.announced_at, alert.folded_into,
       (SELECT count(*) FROM radmeter.alerts AS part WHERE part.folded_into = alert.id) AS folded,
       CASE WHEN alert.resolved_at IS NULL THEN
           radmeter.muted_until(alert.rule, alert.router_id, alert.site, alert.username, now()) END AS muted_until,
       alert.acked_at, alert.acked_by, alert.ack_note, alert.detail
FROM radmeter.alerts AS alert
LEFT JOIN public.routers AS router ON router.id = alert.router_id
LEFT JOIN radmeter.router_watch AS watch
    ON watch.router_id = alert.router_id AND alert.kind = 'router_silent' AND alert.resolved_at IS NULL
LEFT JOIN radmeter.alert_watch AS other ON alert.resolved_at IS NULL AND other.rule = alert.rule
    AND other.subject = radmeter.alert_subject(alert.router_id, alert.site);

-- The keys of the HTTP API, without their secrets. state: rotated keys hold until expires_at.
CREATE OR REPLACE VIEW radmeter.key_list AS
SELECT key.id, key.name, key.role, tenant.name AS tenant,
       CASE WHEN key.revoked_at IS NOT NULL THEN 'revoked' WHEN key.expires_at <= now() THEN 'expired'
            WHEN key.rotated_at IS NOT NULL THEN 'rotated' ELSE 'valid' END AS state,
       key.rate_count, key.rate_seconds, key.last_used_at, key.expires_at, key.created_at, key.created_by, key.rotated_at,
       key.revoked_at, key.tenant_id
FROM radmeter.api_keys AS key LEFT JOIN radmeter.tenants AS tenant ON tenant.id = key.tenant_id;
