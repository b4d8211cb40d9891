"""A network of 100,000 routers with 300,000 open sessions, for how long pages take."""

ROUTERS, SESSIONS, TENANTS = 100_000, 300_000, 100
NETWORK = f"""
SET session_replication_role = replica;
INSERT INTO radmeter.tenants (id, name, currency, digits, timezone, issuer_id)
SELECT 200 + number, 'Tenant ' || number, 'EUR', 2, 'UTC', (SELECT min(id) FROM radmeter.issuers)
FROM generate_series(1, {TENANTS}) AS number;
INSERT INTO routers (id, name, mac, ip_address, timezone, site, tenant_id, interim_interval, status)
SELECT number, 'router-' || lpad(number::text, 6, '0'), ('0200' || lpad(to_hex(number), 8, '0'))::macaddr,
       '10.0.0.0'::inet + number, 'UTC', 'Site ' || number / 10, 201 + number % {TENANTS}, 300, 'active'
FROM generate_series(1, {ROUTERS}) AS number;
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) SELECT id, '2020-01-01', tenant_id FROM routers;
-- A hundred are silent, and one in twenty is idle.
INSERT INTO radmeter.router_watch (router_id, phase, since, due_at, expects, interim, arrived_at, heard_at)
SELECT id, CASE WHEN id % 1000 = 0 THEN 'firing' WHEN id % 20 = 1 THEN 'idle' ELSE 'ok' END,
       now() - id % 1440 * interval '1 minute', now() + interval '1 hour', 'sessions', 300,
       now() - interval '20 minutes', now() - interval '20 minutes'
FROM routers;
UPDATE radmeter.alert_state SET ticked_at = now();
-- Two hundred are late.
INSERT INTO radacct (acctsessionid, acctuniqueid, username, router_id, nasipaddress, acctstarttime, acctupdatetime,
                     arrived_at, acctinputoctets, acctoutputoctets, callingstationid, framedipaddress, counted_at,
                     usage_date, period_start, interim_interval)
SELECT 's' || number, 'u' || number, 'user' || number, 1 + number % {ROUTERS}, '10.1.0.1', now() - interval '3 hours',
       heard.at, heard.at, 12345::bigint * number, 98765::bigint * number,
       ('0200' || lpad(to_hex(number), 8, '0'))::macaddr::text, '10.77.0.0'::inet + number, now(), current_date,
       current_date, 300
FROM generate_series(1, {SESSIONS}) AS number
CROSS JOIN LATERAL (SELECT now() - CASE WHEN (1 + number % {ROUTERS}) % 1000 = 0 THEN interval '40 minutes'
    WHEN (1 + number % {ROUTERS}) % 500 = 3 THEN interval '9 minutes' ELSE interval '1 minute' END AS at) AS heard;
INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out, last_updated)
SELECT id, (now() AT TIME ZONE 'UTC')::date - day, id * 30000 + day, id * 170000 + day, now() - day * interval '1 day'
FROM routers CROSS JOIN generate_series(0, 9) AS day;
INSERT INTO plans (id, name, quota_bytes) VALUES (301, 'Guest', 10000000000);
INSERT INTO subscribers (username, plan_id, tenant_id)
SELECT 'user' || number, 301, 201 + number % {TENANTS} FROM generate_series(1, {SESSIONS} / 3) AS number;
INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
SELECT username, date_trunc('month', now())::date, 900000000, 7000000000 FROM subscribers;
INSERT INTO radmeter.quota_account (username, period_start, status, percent)
SELECT username, date_trunc('month', now())::date, CASE WHEN username LIKE '%77' THEN 'over' ELSE 'active' END, 80
FROM subscribers;
INSERT INTO radmeter.alerts (rule, kind, severity, router_id, site, began_at, fired_at, detail)
SELECT 'silent', 'router_silent', 'warning', id, site, now() - interval '40 minutes', now(),
       jsonb_build_object('interim_seconds', 300, 'heard_at', now() - interval '40 minutes')
FROM routers WHERE id % 1000 = 0;
INSERT INTO radmeter.journal_segment (id, node, role, format, first_seq, last_seq, records, rejected,
                                      last_received_at, updated_at)
VALUES (gen_random_uuid(), 'radius-1', 'r', 2, 1, 912000, 912000, 14, now(), now());
SET session_replication_role = DEFAULT;
SELECT setval(pg_get_serial_sequence('public.routers', 'id'), {ROUTERS} * 2);
"""
