"""A network as a NOC sees it: sites with fresh, late and silent routers, quotas, alerts; some names are hostile."""

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"

SCENE = f"""
SET session_replication_role = replica;
INSERT INTO radmeter.tenants (id, name, currency, digits, timezone, issuer_id)
SELECT each.id, each.name, 'EUR', 2, 'UTC', (SELECT min(id) FROM radmeter.issuers)
FROM (VALUES (101, 'Hotel Adler'), (102, 'Camping Nord')) AS each (id, name);
INSERT INTO routers (id, name, mac, ip_address, timezone, site, tenant_id, interim_interval, status, nas_identifier)
SELECT number, 'ap-' || lpad(number::text, 3, '0'), ('02:00:00:00:00:' || lpad(to_hex(number), 2, '0'))::macaddr,
       ('10.1.0.' || number)::inet, 'UTC', 'Site ' || chr(65 + (number - 1) / 5), 101 + (number - 1) / 5 % 2, 300,
       'active', NULL
FROM generate_series(1, 40) AS number;
UPDATE routers SET name = $x${HOSTILE}$x$ WHERE id = 12;
UPDATE routers SET site = $x$<b>Site</b> & "co"$x$ WHERE id BETWEEN 36 AND 40;
INSERT INTO routers (id, name, mac, ip_address, timezone, status, nas_identifier, interim_interval)
VALUES (60, '02:00:00:00:00:60', '02:00:00:00:00:60', '10.9.0.1', 'UTC', 'discovered', 'ap-new', 300);
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
SELECT id, '2020-01-01', tenant_id FROM routers WHERE tenant_id IS NOT NULL;
INSERT INTO radmeter.router_watch (router_id, phase, since, due_at, expects, interim, arrived_at, heard_at)
SELECT id,
       CASE WHEN id BETWEEN 6 AND 10 OR id IN (12, 23) THEN 'firing' WHEN id > 34 THEN 'idle' ELSE 'ok' END,
       now() - id * interval '1 minute', now() + interval '1 hour', 'sessions', 300,
       now() - interval '20 minutes', now() - interval '20 minutes'
FROM routers WHERE status = 'active';
UPDATE radmeter.alert_state SET ticked_at = now();
INSERT INTO radacct (acctsessionid, acctuniqueid, username, router_id, nasipaddress, acctstarttime, acctupdatetime,
       arrived_at,
                     acctinputoctets, acctoutputoctets, callingstationid, framedipaddress, counted_at, usage_date,
                     period_start)
SELECT 's' || number, 'u' || number, CASE number WHEN 3 THEN $x${HOSTILE}$x$ ELSE 'user' || number END,
       1 + number % 34, '10.1.0.1',
       now() - interval '3 hours', heard.at, heard.at, 12345678::bigint * number, 98765432::bigint * number,
       '02-AA-00-00-00-' || lpad(to_hex(number % 256), 2, '0'), '10.77.0.0'::inet + number, now(), current_date,
       current_date
FROM generate_series(1, 120) AS number
CROSS JOIN LATERAL (SELECT now() - CASE WHEN 1 + number % 34 IN (15, 28) THEN interval '9 minutes'
    WHEN 1 + number % 34 BETWEEN 6 AND 10 OR 1 + number % 34 IN (12, 23) THEN interval '40 minutes'
    ELSE interval '1 minute' END AS at) AS heard;
INSERT INTO radacct (acctsessionid, acctuniqueid, username, router_id, nasipaddress, acctstarttime, acctupdatetime,
                     arrived_at, counted_at)
VALUES ('new', 'new', 'newcomer', 60, '10.9.0.1', now() - interval '5 minutes', now(), now(), now());
INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out, last_updated)
SELECT id, (now() AT TIME ZONE 'UTC')::date - day, (1 + (id * 7 + day * 3) % 11) * 300000000::bigint,
       (1 + (id * 5 + day * 7) % 13) * 1700000000::bigint, now() - interval '1 hour'
FROM routers CROSS JOIN generate_series(0, 60) AS day WHERE status = 'active';
INSERT INTO plans (id, name, quota_bytes) VALUES (301, 'Guest 10 GB', 10000000000), (302, $x${HOSTILE}$x$, 1000000000);
INSERT INTO subscribers (username, plan_id, tenant_id) VALUES
    ('user5', 301, 101), ('user9', 301, 101), ($x${HOSTILE}$x$, 302, 102), ('user20', 302, NULL);
INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
SELECT username, date_trunc('month', now())::date, 900000000, CASE username WHEN 'user9' THEN 7500000000 ELSE
       9200000000 END
FROM subscribers;
INSERT INTO radmeter.quota_account (username, period_start, status, percent)
SELECT username, date_trunc('month', now())::date, CASE username WHEN 'user9' THEN 'warned' ELSE 'over' END,
       90 FROM subscribers;
INSERT INTO radmeter.alerts (rule, kind, severity, router_id, site, username, began_at, fired_at, detail)
VALUES ('site down', 'site_down', 'critical', NULL, 'Site B', NULL, now() - interval '7 minutes',
       now() - interval '6 minutes', '{{"routers": 5}}'),
       ('silent', 'router_silent', 'warning', 12, 'Site C', NULL, now() - interval '12 minutes', now(),
       jsonb_build_object('interim_seconds', 300, 'heard_at', now() - interval '20 minutes')),
       ('silent', 'router_silent', 'warning', 23, 'Site E', NULL, now() - interval '23 minutes', now(),
       jsonb_build_object('interim_seconds', 300, 'heard_at', now() - interval '20 minutes')),
       ('quota', 'quota', 'info', NULL, NULL, $x${HOSTILE}$x$, now() - interval '50 minutes', now(),
       '{{"percent": 120, "period_start": "2026-11-01"}}'),
       ('spike', 'traffic_spike', 'info', 20, 'Site D', NULL, now() - interval '2 hours', now(),
       jsonb_build_object('octets', 80000000000, 'usual_octets', 2000000000, 'hour', now() - interval '2 hours')),
       ('lag', 'ship_lag', 'warning', NULL, NULL, NULL, now() - interval '5 minutes', now(), '{{}}'),
       ('packets', 'no_packets', 'critical', NULL, NULL, NULL, now() - interval '5 minutes', now(), '{{}}');
INSERT INTO radmeter.journal_segment (id, node, role, format, first_seq, last_seq, records, rejected,
       last_received_at, updated_at)
VALUES (gen_random_uuid(), 'radius-1', 'r', 2, 1, 912000, 912000, 14, now() - interval '2 seconds',
       now() - interval '1 second'),
       (gen_random_uuid(), 'radius-2', 'r', 2, 1, 512000, 512000, 0, now() - interval '3 seconds',
       now() - interval '2 seconds');
INSERT INTO rejected_packet (source, seq, received_at, reason, pairs)
SELECT 'radius-1', number, now() - interval '1 hour', 'no Acct-Session-Id', '{{}}' FROM generate_series(1,
       14) AS number;
INSERT INTO radmeter.journal_incident (kind, node, role, detail, first_seq, last_seq, records)
VALUES ('missing', 'radius-2', 'r', 'records 4711 to 4720 are missing', 4711, 4720, 10);
INSERT INTO invoices (id, tenant_id, period_start, period_end, usage, amount, currency, status, net, tax, digits,
       issued_at)
VALUES (401, 101, '2026-01-01', '2026-02-01', 1000, 119, 'EUR', 'issued', 100, 19, 2, now());
INSERT INTO invoice_lines (invoice_id, line, kind, period_start, period_end, description, arithmetic, net, tax_rate)
VALUES (401, 1, 'usage', '2026-01-01', '2026-02-01', 'Usage', '', 100, 19);
SET session_replication_role = DEFAULT;
SELECT setval(pg_get_serial_sequence('public.routers', 'id'), 1000);
"""

MOST = 2**63 - 1
# The same network with the longest of all that it shows. Names of one word, which nothing may break, but for one.
LONGEST = f"""
SET session_replication_role = replica;
UPDATE radmeter.tenants SET name = name || repeat('W', 253 - length(name));
UPDATE routers SET name = CASE id % 3 WHEN 0 THEN name || repeat('W', 253 - length(name))
           WHEN 1 THEN left(repeat('Guesthouse Obermoser ' || id || ', ', 20), 253) ELSE name END,
       nas_identifier = repeat('N', 253), site = left(site || repeat('W', 200), 200),
       ip_address = '2001:db8:aaaa:bbbb:cccc:dddd:eeee:0'::inet + id, timezone = 'America/Argentina/Buenos_Aires';
UPDATE radacct SET username = username || repeat('W', 253 - length(username)) WHERE radacctid % 3 <> 0;
UPDATE radacct SET framedipaddress = '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1000'::inet + radacctid,
       callingstationid = CASE WHEN radacctid % 20 = 0 THEN repeat('D', 253)
                          ELSE '02-AA-DD-CC-BB-' || lpad(to_hex(radacctid % 256), 2, '0') END,
       -- Both fields are bigint. 7.99 EiB has as many letters as the octets of any session.
       acctinputoctets = {MOST}, acctoutputoctets = {MOST},
       acctstoptime = CASE WHEN radacctid % 9 = 0 THEN acctupdatetime END,
       acctterminatecause = CASE WHEN radacctid % 9 = 0 THEN repeat('T', 32) ELSE '' END;
UPDATE router_daily_usage SET bytes_in = {MOST}, bytes_out = {MOST};
UPDATE plans SET name = name || repeat('W', 253 - length(name)), quota_bytes = {MOST};
UPDATE subscribers SET username = username || repeat('W', 253 - length(username)) WHERE username <> 'user5';
UPDATE user_quota_usage SET username = username || repeat('W', 253 - length(username)) WHERE username <> 'user5';
UPDATE user_quota_usage SET bytes_in = {MOST}, bytes_out = {MOST};
UPDATE radmeter.quota_account SET username = username || repeat('W', 253 - length(username))
WHERE username <> 'user5';
UPDATE radmeter.journal_segment SET node = node || repeat('w', 253 - length(node)), records = {MOST} / 2,
       rejected = {MOST} / 2;
UPDATE rejected_packet SET reason = repeat('r', 253);
UPDATE radmeter.journal_incident SET node = repeat('w', 253), detail = repeat('d', 253);
INSERT INTO radmeter.alert_mutes (rule, router_id, site, username, until_at, created_by, note)
SELECT repeat('r', 200), router, site, username, now() + interval '8 hours', repeat('k', 200), repeat('n', 253)
FROM (VALUES (3, NULL, NULL), (NULL, repeat('S', 200), NULL), (NULL, NULL, repeat('U', 253)))
    AS each (router, site, username);
UPDATE radmeter.alert_state SET ticked_at = now() - interval '9 years';
UPDATE radmeter.alerts SET site = left(site || repeat('W', 200), 200), acked_at = now(), acked_by = repeat('k', 200),
       ack_note = repeat('n', 253) WHERE id % 2 = 0;
SET session_replication_role = DEFAULT;
"""

# For pictures: nobody is hostile.
USUAL_NAMES = """
UPDATE routers SET name = 'ap-012' WHERE id = 12;
UPDATE routers SET site = 'Site H' WHERE id BETWEEN 36 AND 40;
UPDATE plans SET name = 'Guest 1 GB' WHERE id = 302;
SET session_replication_role = replica;
UPDATE radacct SET username = 'guest7' WHERE username LIKE '<%';
UPDATE subscribers SET username = 'guest7' WHERE username LIKE '<%';
UPDATE user_quota_usage SET username = 'guest7' WHERE username LIKE '<%';
UPDATE radmeter.quota_account SET username = 'guest7' WHERE username LIKE '<%';
UPDATE radmeter.alerts SET username = 'guest7' WHERE username LIKE '<%';
SET session_replication_role = DEFAULT;
DELETE FROM radmeter.alerts WHERE kind IN ('no_packets', 'ship_lag');
"""
JUST_NOW = """
UPDATE radmeter.alert_state SET ticked_at = now();
UPDATE radmeter.journal_segment SET last_received_at = now() - interval '1 second', updated_at = now();
UPDATE radacct SET acctupdatetime = now() - interval '50 seconds', arrived_at = now() - interval '50 seconds'
WHERE acctstoptime IS NULL AND arrived_at > now() - interval '6 minutes';
"""
# What is counted in a moment, more of it and less of it in turns.
WAVES = """
UPDATE radmeter.alert_state SET ticked_at = now();
WITH wave AS (SELECT 1.3 + sin(extract(epoch FROM clock_timestamp()) / 19) * 0.3 + random() * 0.3 AS high)
UPDATE radmeter.journal_segment SET records = records + (60 * high)::integer, last_received_at = clock_timestamp(),
    updated_at = clock_timestamp() FROM wave;
WITH wave AS (SELECT 1.3 + sin(extract(epoch FROM clock_timestamp()) / 23) * 0.3 + random() * 0.2 AS high)
INSERT INTO router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out, last_updated)
SELECT number, (now() AT TIME ZONE 'UTC')::date, 400000 * high, 2600000 * high, clock_timestamp()
FROM wave, generate_series(1, 5) AS number
ON CONFLICT (router_id, usage_date) DO UPDATE SET bytes_in = usage.bytes_in + EXCLUDED.bytes_in,
    bytes_out = usage.bytes_out + EXCLUDED.bytes_out, last_updated = EXCLUDED.last_updated;
"""
