-- radmeter.close_gone(radacctids, seconds): closes open sessions that their router does not know any more, as far as no
-- packet of theirs came for so many seconds: stop = last update, cause Admin-Reset.
--   seconds  one number for each session
-- A session with a later packet is left open. While a shipper works through a backlog, the silence is judged as of the
-- arrival that it has reached (radmeter.reaper_time). Rows that another writer holds are left open.
-- Returns the ids of those it closed. Writes radacct, radmeter.session_alias.
CREATE OR REPLACE FUNCTION radmeter.close_gone(p_radacctids bigint[], p_seconds double precision[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_at timestamptz := radmeter.reaper_time();
    v_closed bigint[];
BEGIN
    PERFORM radmeter.ensure_partition(month) FROM (
        SELECT DISTINCT date_trunc('month', radmeter.last_possible_time(coalesce(acctupdatetime, acctstarttime), v_at), 'UTC') AS month
        FROM public.radacct WHERE radacctid = ANY (p_radacctids) AND acctstoptime IS NULL) AS stops;
    WITH gone AS MATERIALIZED (
        SELECT session.radacctid,
               radmeter.last_possible_time(coalesce(session.acctupdatetime, session.acctstarttime), v_at) AS stopped_at
        FROM unnest(p_radacctids, p_seconds) AS given (radacctid, seconds)
        JOIN public.radacct AS session ON session.radacctid = given.radacctid AND session.acctstoptime IS NULL
        WHERE coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime)
              < v_at - given.seconds * interval '1 second'
        ORDER BY session.radacctid
        FOR UPDATE OF session SKIP LOCKED
    ), closed AS (
        UPDATE public.radacct AS session SET
            acctstoptime = gone.stopped_at,
            acctterminatecause = CASE WHEN closed_by = 'stop' THEN acctterminatecause ELSE 'Admin-Reset' END,
            closed_by = CASE WHEN closed_by = 'stop' THEN 'stop' ELSE 'reaper' END
        FROM gone WHERE session.radacctid = gone.radacctid AND session.acctstoptime IS NULL
        RETURNING session.radacctid
    )
    SELECT coalesce(array_agg(radacctid), '{}') INTO v_closed FROM closed;
    IF v_closed <> '{}' THEN
        PERFORM radmeter.note_device_keys(v_closed);
    END IF;
    RETURN v_closed;
END;
$$;
