-- radmeter.erase_alerts(username, pseudonym): puts the pseudonym of an erased person into alerts and mutes. Mails are
-- worded when they are sent, so one that waits says the pseudonym. Returns how many rows were changed.
-- Called by radmeter.erase_notes. Writes radmeter.alerts, radmeter.alert_mutes.
CREATE OR REPLACE FUNCTION radmeter.erase_alerts(p_username text, p_pseudonym text) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    WITH erased AS (
        UPDATE radmeter.alerts SET username = p_pseudonym,
            detail = radmeter.without_name(detail, p_username, p_pseudonym)
        WHERE username = p_username RETURNING 1
    ), unmuted AS (
        UPDATE radmeter.alert_mutes SET username = p_pseudonym WHERE username = p_username RETURNING 1
    )
    SELECT (SELECT count(*) FROM erased) + (SELECT count(*) FROM unmuted);
$$;
