-- radmeter.batch_sessions(): the sessions that records of the batch may be of: open ones, and closed ones that a record
-- could open again. A session may be there several times.
--   component  of the records: see radmeter.label_components
--   is_own     it began at or before its last update, as radmeter writes it; NULL: not known
-- Called by radmeter.drop_idle_reboots and radmeter.cut_segments. Reads pg_temp.incoming, radacct, radmeter.session_alias.
CREATE OR REPLACE FUNCTION radmeter.batch_sessions()
RETURNS TABLE (component text, router_id bigint, is_open boolean, last_update timestamptz, is_own boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
-- Index lookups for each record. The temporary table has no statistics, so the planner might choose otherwise.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    -- As in radmeter.update_closed: no packet of the batch can open a session that stopped before this.
    v_from timestamptz := (SELECT greatest(min(least(belongs_from, event_time - interval '7 days')),
                                           min(event_time) - interval '400 days')
                           FROM pg_temp.incoming WHERE round IS NOT NULL);
BEGIN
    RETURN QUERY
    SELECT record.component, session.router_id, session.acctstoptime IS NULL, session.acctupdatetime,
           session.acctstarttime <= session.acctupdatetime
    FROM (SELECT DISTINCT component, uid, session_id, calling_station_id, shown_mac
          FROM pg_temp.incoming WHERE round IS NOT NULL) AS record
    CROSS JOIN LATERAL radmeter.sessions_of(
        record.uid, record.session_id, record.calling_station_id, record.shown_mac, v_from) AS session;
END;
$$;
