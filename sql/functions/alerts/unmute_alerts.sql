-- radmeter.unmute_alerts(id): ends a mute at once. What is open and nobody was told of is announced.
-- SQLSTATE RM001: there is no such mute, or it is over. Writes radmeter.alert_mutes, audit_log.
CREATE OR REPLACE FUNCTION radmeter.unmute_alerts(p_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE radmeter.alert_mutes SET until_at = now() WHERE id = p_id AND until_at > now();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no mute #% in force', p_id USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.audit('alerts unmute', jsonb_build_object('mute', p_id));
END;
$$;
