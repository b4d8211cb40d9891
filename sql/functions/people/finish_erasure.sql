-- radmeter.finish_erasure(username): moves what the counters still have under a name to the pseudonym of the erasure
-- under way: usage of sessions that are archived or dropped. Removes the name from subscribers and the adoption's tables.
-- Top-ups go on under the pseudonym, without their notes. Requests to routers end. Nothing else of quotas stays, and no
-- password: the user's rows of radcheck go. The history of plans goes on under the pseudonym, and ends now.
-- Returns false, without further changes, if the user still has sessions; else true.
-- Writes user_quota_usage, subscribers, top_ups, radcheck, radmeter.adopted_user, adopted_move, backfill_user, erasure,
-- quota_account, quota_booked, quota_change, quota_notice, disconnect_queue, plan_history.
CREATE OR REPLACE FUNCTION radmeter.finish_erasure(p_username text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_pseudonym text := radmeter.erasure_pseudonym(p_username);
    v_rows bigint;
BEGIN
    IF EXISTS (SELECT FROM public.radacct WHERE username = p_username) THEN
        RETURN false;
    END IF;
    -- As in radmeter.repair_usage, and in the same order: no repair may find the counters of the name meanwhile.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.repair', 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    IF EXISTS (SELECT FROM public.radacct WHERE username = p_username) THEN
        RETURN false;
    END IF;
    WITH left_over AS (
        DELETE FROM public.user_quota_usage WHERE username = p_username
        RETURNING period_start, bytes_in, bytes_out, last_updated
    ), moved AS (
        INSERT INTO public.user_quota_usage AS usage (username, period_start, bytes_in, bytes_out, last_updated)
        SELECT v_pseudonym, period_start, bytes_in, bytes_out, last_updated FROM left_over
        WHERE bytes_in <> 0 OR bytes_out <> 0 ORDER BY period_start
        ON CONFLICT (username, period_start) DO UPDATE SET
            bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
            last_updated = greatest(usage.last_updated, excluded.last_updated)
    )
    SELECT count(*) INTO v_rows FROM left_over;
    PERFORM radmeter.count_erased(p_username, 'user_quota_usage', v_rows);
    -- After the counters and before top-ups, as a packet that comes to a limit locks them.
    PERFORM FROM radmeter.quota_account WHERE username IN (p_username, v_pseudonym) ORDER BY username FOR UPDATE;
    UPDATE radmeter.backfill_user SET usernames = array_replace(usernames, p_username, v_pseudonym)
    WHERE p_username = ANY (usernames);
    UPDATE radmeter.adopted_move SET
        old_username = CASE WHEN old_username = p_username THEN v_pseudonym ELSE old_username END,
        new_username = CASE WHEN new_username = p_username THEN v_pseudonym ELSE new_username END
    WHERE p_username IN (old_username, new_username);
    DELETE FROM radmeter.adopted_user WHERE username = p_username;
    UPDATE public.top_ups SET username = v_pseudonym, note = NULL WHERE username = p_username;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM radmeter.count_erased(p_username, 'top_ups', v_rows);
    DELETE FROM radmeter.disconnect_queue WHERE username = p_username;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM radmeter.count_erased(p_username, 'disconnect_queue', v_rows);
    DELETE FROM radmeter.quota_notice WHERE username = p_username;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM radmeter.count_erased(p_username, 'quota_notice', v_rows);
    DELETE FROM radmeter.quota_account WHERE username = p_username;
    DELETE FROM radmeter.quota_booked WHERE username = p_username;
    IF NOT EXISTS (SELECT FROM radmeter.radcheck_fault()) THEN
        DELETE FROM public.radcheck WHERE username = p_username;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        PERFORM radmeter.count_erased(p_username, 'radcheck', v_rows);
    END IF;
    DELETE FROM public.subscribers WHERE username = p_username;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM radmeter.count_erased(p_username, 'subscribers', v_rows);
    -- The triggers have just noted the name. Whoever has no plan any more is charged for the days so far.
    UPDATE radmeter.plan_history SET username = v_pseudonym WHERE username = p_username;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM radmeter.count_erased(p_username, 'plan_history', v_rows);
    DELETE FROM radmeter.quota_change WHERE username = p_username AND NOT everybody;
    UPDATE radmeter.quota_change SET username = '' WHERE username = p_username;
    PERFORM radmeter.note_counters_moved(ARRAY[v_pseudonym]);
    RETURN true;
END;
$$;
