-- radmeter.qualify_names(): gives user names of the batch the realm of their router's tenant (radmeter.qualified_names), as
-- of the start that the packet shows. incoming.sent_username is the name as it was sent. A session that exists keeps its
-- name. The id of a session (acctuniqueid) is made from the name as it was sent, so what is one session does not change.
-- Called by radmeter.unpack_records only, if a tenant has a realm. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.qualify_names() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- The temporary table has no statistics, so the planner might choose otherwise.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_places tid[];
    v_names text[];
    v_routers bigint[];
    v_times timestamptz[];
BEGIN
    SELECT array_agg(ctid), array_agg(username), array_agg(router_id), array_agg(start_time)
    INTO v_places, v_names, v_routers, v_times FROM pg_temp.incoming;
    UPDATE pg_temp.incoming AS record SET
        sent_username = record.username, username = named.name,
        period_start = radmeter.period_start(plan.quota_type, plan.anchor_day, subscriber.quota_start,
            (record.event_time AT TIME ZONE coalesce(plan.timezone, named.timezone))::date)
    FROM (SELECT name, v_places[number] AS place, radmeter.setting_value('timezone') AS timezone
          FROM radmeter.qualified_names(v_names, v_routers, v_times) OFFSET 0) AS named
    LEFT JOIN public.subscribers AS subscriber ON subscriber.username = named.name
    LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
    WHERE record.ctid = named.place;
END;
$$;
