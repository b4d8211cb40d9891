-- radmeter.close_waiting(): closes the open sessions whose Stop came while the partition of its month was missing and could
-- not be made: stop = last update, with the cause that the Stop had. radmeter.apply_batch has counted the Stop's octets.
-- Returns how many sessions it closed. SQLSTATE 55P03: the partition still cannot be made. Writes radacct.
CREATE OR REPLACE FUNCTION radmeter.close_waiting() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids bigint[];
    v_stops timestamptz[];
    v_closed integer;
BEGIN
    -- Ingest waits for none of this when there is nothing to do.
    IF NOT EXISTS (SELECT FROM public.radacct WHERE acctstoptime IS NULL AND closed_by = 'stop') THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    SELECT array_agg(radacctid), array_agg(radmeter.last_possible_time(coalesce(acctupdatetime, acctstarttime), now()))
    INTO v_ids, v_stops
    FROM public.radacct
    WHERE acctstoptime IS NULL AND closed_by = 'stop' AND coalesce(acctupdatetime, acctstarttime) IS NOT NULL;
    PERFORM radmeter.ensure_partition(month)
        FROM (SELECT DISTINCT date_trunc('month', stop, 'UTC') AS month FROM unnest(v_stops) AS stop) AS stops;
    UPDATE public.radacct AS session SET acctstoptime = found.stop
    FROM unnest(v_ids, v_stops) AS found (radacctid, stop)
    WHERE session.radacctid = found.radacctid AND session.acctstoptime IS NULL AND session.closed_by = 'stop';
    GET DIAGNOSTICS v_closed = ROW_COUNT;
    RETURN v_closed;
END;
$$;
