-- radmeter.ack_alert(id, note): notes that a person knows of an alert. It stays open until it is resolved.
-- note: what is done about it, or NULL. Acknowledged again, the later name and note stay.
-- SQLSTATE RM001: there is no such alert, it was resolved, or the note is longer than 1000 characters.
-- Writes radmeter.alerts, audit_log.
CREATE OR REPLACE FUNCTION radmeter.ack_alert(p_id bigint, p_note text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_note text := nullif(btrim(p_note, E' \t\r\n'), '');
    v_alert radmeter.alerts;
BEGIN
    SELECT * INTO v_alert FROM radmeter.alerts WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no alert #%', p_id USING ERRCODE = 'RM001';
    ELSIF v_alert.resolved_at IS NOT NULL THEN
        RAISE EXCEPTION 'alert #% was resolved', p_id USING ERRCODE = 'RM001';
    ELSIF length(v_note) > 1000 THEN
        RAISE EXCEPTION 'alert #%: a note has at most 1000 characters', p_id USING ERRCODE = 'RM001';
    END IF;
    UPDATE radmeter.alerts SET
        acked_at = clock_timestamp(), ack_note = v_note,
        acked_by = coalesce(nullif(current_setting('radmeter.operator', true), ''), session_user)
    WHERE id = p_id;
    PERFORM radmeter.audit('alerts ack', jsonb_strip_nulls(jsonb_build_object(
        'alert', p_id, 'rule', v_alert.rule, 'router', v_alert.router_id, 'site', v_alert.site, 'note', v_note)));
END;
$$;
