-- The read interface: what tools and people read, whatever the tables look like.
CREATE OR REPLACE VIEW radmeter.user_usage AS
SELECT username, period_start, bytes_in, bytes_out,
       bytes_in::numeric + bytes_out AS bytes_total, last_updated
FROM public.user_quota_usage;

CREATE OR REPLACE VIEW radmeter.router_usage AS
SELECT router.id AS router_id, router.name, router.mac, usage.usage_date, usage.bytes_in, usage.bytes_out,
       usage.bytes_in::numeric + usage.bytes_out AS bytes_total, usage.last_updated
FROM public.router_daily_usage AS usage JOIN public.routers AS router ON router.id = usage.router_id;

CREATE OR REPLACE VIEW radmeter.sessions AS
SELECT session.radacctid, session.acctuniqueid, session.acctsessionid, session.username,
       session.router_id, router.name AS router_name, router.mac AS router_mac,
       session.acctstarttime, session.acctupdatetime, session.acctstoptime, session.acctsessiontime,
       session.acctinputoctets AS bytes_in, session.acctoutputoctets AS bytes_out,
       session.callingstationid, session.framedipaddress, session.acctterminatecause, session.closed_by
FROM public.radacct AS session LEFT JOIN public.routers AS router ON router.id = session.router_id;

CREATE OR REPLACE VIEW radmeter.router_list AS
SELECT router.id, router.name, router.mac, router.nas_identifier, router.ip_address, router.status,
       coalesce(router.timezone, radmeter.setting_value('timezone')) AS timezone, router.created_at
FROM public.routers AS router;
