-- radmeter.qualify_names(): gives user names of the batch the realm of their router's tenant (radmeter.qualified_name), as of
-- the start that the packet shows. incoming.sent_username is the name as it was sent. A session that exists keeps its name.
-- The id of a session (acctuniqueid) is made from the name as it was sent, so what is one session does not change.
-- Called by radmeter.unpack_records only, if a tenant has a realm. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.qualify_names() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE pg_temp.incoming AS record SET
        sent_username = record.username, username = named.name,
        period_start = radmeter.user_period_start(named.name, record.event_time)
    FROM (
        SELECT sent.seq, radmeter.qualified_name(sent.username, sent.router_id, sent.start_time) AS name
        FROM pg_temp.incoming AS sent JOIN public.routers AS router ON router.id = sent.router_id
        WHERE router.tenant_id IN (SELECT tenant_id FROM radmeter.tenant_realm)
        OFFSET 0) AS named
    WHERE named.seq = record.seq AND named.name <> record.username;
$$;
