-- radmeter.merge_router_finish(from): ends the merge of a router whose sessions have all moved. Moves its anomalies, and
-- the usage that is left in its counters: that of sessions that retention has dropped since.
-- Returns false, without further changes, if the router still has sessions; true if all is done, also by an earlier call.
-- Writes accounting_anomaly, router_daily_usage, routers, audit_log, radmeter.adopted_router, adoption_baseline.
CREATE OR REPLACE FUNCTION radmeter.merge_router_finish(p_from bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_into bigint := (SELECT merged_into FROM public.routers WHERE id = p_from);
    v_days jsonb;
BEGIN
    IF v_into IS NULL THEN
        RAISE EXCEPTION 'router #% is not being merged', p_from USING ERRCODE = 'RM001';
    END IF;
    -- Both statements run again under the lock below, and then take no time. So ingest does not wait for this long run.
    IF EXISTS (SELECT FROM public.radacct WHERE router_id = p_from) THEN
        RETURN false;
    END IF;
    UPDATE public.accounting_anomaly SET router_id = v_into WHERE router_id = p_from;

    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    -- Adopted sessions are getting their router now. Return and be called again, so that ingest need not wait.
    IF NOT pg_try_advisory_xact_lock(hashtextextended('radmeter.adopted_router', 0)) THEN
        RETURN false;
    END IF;
    -- Read it again, since that router may have been merged into another meanwhile.
    SELECT merged_into INTO v_into FROM public.routers WHERE id = p_from FOR NO KEY UPDATE;
    IF (SELECT merged_at IS NOT NULL FROM public.routers WHERE id = p_from) THEN
        RETURN true;
    END IF;
    IF EXISTS (SELECT FROM public.radacct WHERE router_id = p_from) THEN
        RETURN false;
    END IF;
    UPDATE public.accounting_anomaly SET router_id = v_into WHERE router_id = p_from;
    WITH left_over AS (
        DELETE FROM public.router_daily_usage WHERE router_id = p_from RETURNING usage_date, bytes_in, bytes_out
    ), moved AS (
        INSERT INTO public.router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out)
        SELECT v_into, usage_date, bytes_in, bytes_out FROM left_over
        WHERE bytes_in <> 0 OR bytes_out <> 0 ORDER BY usage_date
        ON CONFLICT (router_id, usage_date) DO UPDATE SET
            bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
            last_updated = excluded.last_updated
        RETURNING usage_date
    )
    SELECT jsonb_agg(jsonb_build_array(usage_date, bytes_in, bytes_out) ORDER BY usage_date) INTO v_days
    FROM left_over JOIN moved USING (usage_date);
    -- These tables name the router of adopted sessions without a router_id.
    UPDATE radmeter.adopted_router SET router_id = v_into WHERE router_id = p_from;
    UPDATE radmeter.adoption_baseline SET router_id = v_into WHERE router_id = p_from;
    UPDATE public.routers SET merged_at = now(), updated_at = now() WHERE id = p_from;
    PERFORM radmeter.audit('routers merge', jsonb_build_object(
        'finished', p_from, 'into', v_into, 'days_of_dropped_sessions', coalesce(v_days, '[]')));
    RETURN true;
END;
$$;
