-- radmeter.close_stale(radacctids [, at [, minutes]]): closes the given sessions, as far as they are stale: stop = last
-- update, cause Admin-Reset (RFC 2866 section 5.10). at NULL: radmeter.reaper_time. The caller passes batches of bounded
-- size, so that ingest never waits for more than one batch.
-- Each session is checked again under the row's lock, since an interim may have come in since radmeter.stale_sessions.
-- Rows that another writer holds are left for the next run. A session whose Stop waits for its month keeps its cause.
-- Returns how many sessions it closed.
-- Writes radacct, radmeter.session_alias, radmeter.router_watch.
CREATE OR REPLACE FUNCTION radmeter.close_stale(
    p_radacctids bigint[], p_at timestamptz DEFAULT NULL, p_minutes integer DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_at timestamptz := coalesce(p_at, radmeter.reaper_time());
    v_minutes integer := coalesce(p_minutes, radmeter.setting_value('stale_minutes')::integer);
    v_closed integer;
BEGIN
    PERFORM radmeter.ensure_partition(month) FROM (
        SELECT DISTINCT date_trunc('month', radmeter.last_possible_time(coalesce(acctupdatetime, acctstarttime), v_at), 'UTC') AS month
        FROM public.radacct WHERE radacctid = ANY (p_radacctids) AND acctstoptime IS NULL) AS stops;
    WITH stale AS MATERIALIZED (
        SELECT session.radacctid,
               radmeter.last_possible_time(coalesce(session.acctupdatetime, session.acctstarttime), v_at) AS stopped_at
        FROM public.radacct AS session
        LEFT JOIN public.routers AS router ON router.id = session.router_id
        WHERE session.radacctid = ANY (p_radacctids) AND session.acctstoptime IS NULL
          AND coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime)
              < v_at - radmeter.stale_after(session.interim_interval, router.interim_interval, v_minutes)
        ORDER BY session.radacctid
        FOR UPDATE OF session SKIP LOCKED
    )
    UPDATE public.radacct AS session SET
        acctstoptime = stale.stopped_at,
        acctterminatecause = CASE WHEN closed_by = 'stop' THEN acctterminatecause ELSE 'Admin-Reset' END,
        closed_by = CASE WHEN closed_by = 'stop' THEN 'stop' ELSE 'reaper' END
    FROM stale
    WHERE session.radacctid = stale.radacctid AND session.acctstoptime IS NULL;
    GET DIAGNOSTICS v_closed = ROW_COUNT;
    IF v_closed > 0 THEN
        PERFORM radmeter.note_device_keys(p_radacctids);
        PERFORM radmeter.note_reaped(p_radacctids, v_at);
    END IF;
    RETURN v_closed;
END;
$$;
