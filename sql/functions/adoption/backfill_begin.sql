-- radmeter.backfill_begin(): begins the backfill of an adopted radacct: keeps the plans and time zones by which its
-- history is counted, and the first and last id that adopted sessions can have. If it has begun before, this changes
-- nothing. A backfill that has counted no session begins again: its marks may be from a time before the swap.
-- Returns false if there is no adopted session.
-- Raises RM001 while an adoption, or the undoing of one, is not finished: before the swap the other functions of a
-- backfill read an empty table, and would mark sessions that they have not seen.
-- Writes radmeter.backfill, radmeter.adopted_user, radmeter.adopted_router.
CREATE OR REPLACE FUNCTION radmeter.backfill_begin() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_timezone text := radmeter.setting_value('timezone');
    v_state text;
BEGIN
    SELECT state INTO v_state FROM radmeter.adoption WHERE undone_at IS NULL AND state <> 'done';
    IF FOUND THEN
        RAISE EXCEPTION 'the history cannot be counted yet: the adoption is not finished (%)', v_state
            USING ERRCODE = 'RM001';
    END IF;
    DELETE FROM radmeter.backfill
    WHERE counted_rows = 0 AND filled_rows = 0 AND (NOT isempty(counted) OR NOT isempty(filled))
      AND NOT EXISTS (SELECT FROM radmeter.backfill_rejected);
    IF FOUND THEN
        DELETE FROM radmeter.adopted_user;
    END IF;
    IF EXISTS (SELECT FROM radmeter.backfill) THEN
        RETURN true;
    END IF;
    IF NOT EXISTS (SELECT FROM public.radacct WHERE adopted) THEN
        RETURN false;
    END IF;
    -- With this lock no router is found between the statements below.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    INSERT INTO radmeter.backfill (timezone, first_id, last_id)
    SELECT v_timezone, min(radacctid), max(radacctid) FROM public.radacct
    HAVING max(radacctid) IS NOT NULL
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    INSERT INTO radmeter.adopted_user (username, quota_type, anchor_day, quota_start, timezone)
    SELECT subscriber.username, plan.quota_type, plan.anchor_day, subscriber.quota_start,
           coalesce(plan.timezone, v_timezone)
    FROM public.subscribers AS subscriber JOIN public.plans AS plan ON plan.id = subscriber.plan_id;
    UPDATE radmeter.adopted_router AS known SET timezone = coalesce(router.timezone, v_timezone)
    FROM public.routers AS router
    WHERE router.id = known.router_id AND known.timezone <> coalesce(router.timezone, v_timezone);
    RETURN true;
END;
$$;
