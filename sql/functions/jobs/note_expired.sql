-- radmeter.note_expired(removed): notes in audit_log what the jobs have removed, and forgets the hours of
-- radmeter.kept_per_hour of which nothing was left out for two days, or which were left alone for 180 days. It also
-- forgets aliases of sessions after 100 days: no packet comes so late. If an open session's alias is forgotten, its next
-- packet joins by the device key again.
--   removed  JSON array of {"kind", "reason", "rows"}; empty: nothing is noted
-- Called by the jobs, once a run. Writes audit_log, radmeter.kept_per_hour, radmeter.session_alias.
CREATE OR REPLACE FUNCTION radmeter.note_expired(p_removed jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jsonb_array_length(p_removed) > 0 THEN
        PERFORM radmeter.audit('jobs expire', jsonb_build_object('removed', p_removed));
    END IF;
    DELETE FROM radmeter.kept_per_hour WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM radmeter.kept_per_hour
        WHERE updated_at < now() - interval '2 days'
          AND (left_out = 0 OR updated_at < now() - interval '180 days')
        LIMIT 10000 FOR UPDATE SKIP LOCKED));
    DELETE FROM radmeter.session_alias WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM radmeter.session_alias WHERE noted_at < now() - interval '100 days'
        ORDER BY noted_at LIMIT 10000 FOR UPDATE SKIP LOCKED));
END;
$$;
