"""Rows of two tenants, acme and bolt. What is bolt's has its name in it, or the figures 777."""

ROWS = """
SET session_replication_role = replica;
INSERT INTO radmeter.issuers (name) VALUES ('bolt');
INSERT INTO radmeter.tenants (id, name, currency, digits, timezone, issuer_id, note)
SELECT id, name, 'EUR', 2, 'UTC', (SELECT id FROM radmeter.issuers AS issuer WHERE issuer.name = each.issuer),
       name || ' secret'
FROM (VALUES (101, 'acme', 'default'), (102, 'bolt', 'bolt')) AS each (id, name, issuer);
INSERT INTO radmeter.tenant_rates (tenant_id, from_day, terms)
SELECT id, '2026-01-01', jsonb_build_object('price', '1' || CASE name WHEN 'acme' THEN '' ELSE '77700099' END)
FROM radmeter.tenants;
INSERT INTO routers (id, name, mac, ip_address, timezone, tenant_id, total_usage, nas_identifier, clients) VALUES
    (201, 'acme lobby', '02:00:00:00:aa:01', '10.1.0.1', 'UTC', 101, 11, 'acme', '{10.1.0.0/16}'),
    (202, 'bolt lobby', '02:00:00:00:bb:02', '10.2.0.2', 'UTC', 102, 77, 'bolt', '{10.2.0.0/16}'),
    (203, 'acme hall', '02:00:00:00:aa:03', '10.2.0.3', 'UTC', 102, 88, 'bolt', '{10.2.0.0/16}'),
    (204, 'nobody', '02:00:00:00:bb:04', '10.2.0.4', 'UTC', NULL, 0, 'bolt', '{10.2.0.0/16}');
-- The hall was bolt's before and after.
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES
    (201, '2026-01-01', 101), (202, '2026-01-01', 102),
    (203, '2026-01-01', 102), (203, '2026-01-03', 101), (203, '2026-01-04', 102);
INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out) VALUES
    (201, '2026-01-01', 1, 1), (201, '2026-01-02', 2, 2), (202, '2026-01-01', 77700002, 77700002),
    (203, '2026-01-02', 77700003, 77700003), (203, '2026-01-03', 3, 3), (203, '2026-01-04', 77700004, 77700004),
    (204, '2026-01-01', 77700005, 77700005);
INSERT INTO plans (id, name) VALUES (301, 'acme gold'), (302, 'bolt gold'), (303, 'acme extra'), (304, 'bolt unused');
INSERT INTO subscribers (username, plan_id, tenant_id)
VALUES ('alice', 301, 101), ('bolt bob', 302, 102), ('bolt nobody', 302, NULL);
INSERT INTO subscriber_plans (username, plan_id) VALUES ('alice', 303), ('bolt bob', 304);
INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
VALUES ('alice', '2026-01-01', 5, 5), ('bolt bob', '2026-01-01', 77700006, 77700006);
-- Alice was bolt's user then.
INSERT INTO top_ups (username, bytes, note, added_by)
VALUES ('alice', 5, 'bolt', 'bolt'), ('bolt bob', 77700007, 'bolt', 'bolt');
INSERT INTO invoices (id, username, tenant_id, of_tenant_id, period_start, period_end, usage, amount, currency, status,
                      net, tax, digits, issued_at)
VALUES (401, NULL, 101, NULL, '2026-01-01', '2026-02-01', 1, 1, 'EUR', 'issued', 1, 0, 2, now()),
       (402, 'alice', NULL, 101, '2026-01-01', '2026-02-01', 1, 1, 'EUR', 'issued', 1, 0, 2, now()),
       (403, NULL, 102, NULL, '2026-01-01', '2026-02-01', 77700008, 77700008, 'EUR', 'issued', 77700008, 0, 2,
        now()),
       (404, 'bolt bob', NULL, 102, '2026-01-01', '2026-02-01', 77700009, 77700009, 'EUR', 'issued', 77700009, 0, 2,
        now()),
       (405, NULL, 101, NULL, '2026-02-01', '2026-03-01', 77700010, 77700010, 'EUR', 'draft', 77700010, 0, 2, NULL);
INSERT INTO radmeter.billing_close (period, tenant_id, closed_by)
VALUES ('2026-01-01', 101, 'acme'), ('2026-01-01', 102, 'bolt'), ('2026-01-01', NULL, 'bolt');
INSERT INTO invoice_lines (invoice_id, line, kind, period_start, period_end, description, arithmetic, net, tax_rate)
SELECT id, 1, 'usage', '2026-01-01', '2026-02-01',
       CASE WHEN id < 403 THEN 'acme' ELSE 'bolt' END, '', 1, 0 FROM invoices;
INSERT INTO invoice_usage (invoice_id, router_id, usage_date, bytes_in, bytes_out)
VALUES (401, 201, '2026-01-01', 1, 1), (403, 202, '2026-01-01', 77700011, 77700011);
INSERT INTO credit_notes (id, invoice_id, issuer_id, number_year, sequence, number, currency, digits, net, tax, amount,
                          taxes, reason, recipient, issuer)
SELECT 100 + id, id, (SELECT min(id) FROM radmeter.issuers), 2026, id, CASE WHEN id < 403 THEN 'acme' ELSE 'bolt' END,
       'EUR', 2, 1, 0, 1, '[]', 'r', '{}', '{}' FROM invoices WHERE id IN (401, 403);
INSERT INTO credit_note_lines (credit_note_id, line, invoice_line, description, net, tax_rate)
SELECT id, 1, 1, number, 1, 0 FROM credit_notes;
INSERT INTO radacct (acctsessionid, acctuniqueid, username, router_id, nasipaddress, acctstarttime, acctupdatetime,
                     acctinputoctets, acctoutputoctets, usage_date, callingstationid)
SELECT session, session, username, router_id, '10.9.9.9', start, start, octets, octets, last_day,
       'device of ' || username
FROM (VALUES ('s1', 'alice', 203, timestamptz '2026-01-03 10:00Z', 1, date '2026-01-03'),
             -- Of these the tenant would see octets of a day that is not its own.
             ('s2', 'bolt before', 203, '2026-01-02 23:00Z', 77700012, '2026-01-03'),
             ('s3', 'bolt after', 203, '2026-01-03 23:00Z', 77700013, '2026-01-04'),
             ('s4', 'bolt bob', 202, '2026-01-03 10:00Z', 77700014, '2026-01-03'))
    AS each (session, username, router_id, start, octets, last_day);
INSERT INTO accounting_anomaly (kind, username, acctuniqueid) VALUES ('bolt', 'bolt bob', 'bolt');
SELECT radmeter.audit('bolt', '{"bolt": 1}');
RESET session_replication_role;
"""
