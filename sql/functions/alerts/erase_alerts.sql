-- radmeter.erase_alerts(username, pseudonym): puts the pseudonym of an erased person into alerts and mutes, also into what
-- operators noted there. Mails are worded when they are sent, so one that waits says the pseudonym.
-- Returns how many rows were changed.
-- Called by radmeter.erase_notes. Writes radmeter.alerts, radmeter.alert_mutes.
CREATE OR REPLACE FUNCTION radmeter.erase_alerts(p_username text, p_pseudonym text) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    WITH erased AS (
        UPDATE radmeter.alerts AS alert SET
            username = CASE WHEN alert.username = p_username THEN p_pseudonym ELSE alert.username END,
            detail = radmeter.without_name(alert.detail, p_username, p_pseudonym),
            ack_note = radmeter.without_name(jsonb_build_object('note', alert.ack_note), p_username, p_pseudonym) ->> 'note'
        -- An alert of a router, too, may have a note about a user.
        WHERE alert.username = p_username
           OR strpos(alert.ack_note, p_username) > 0
              AND radmeter.without_name(jsonb_build_object('note', alert.ack_note), p_username, p_pseudonym) ->> 'note'
                  <> alert.ack_note
        RETURNING 1
    ), unmuted AS (
        UPDATE radmeter.alert_mutes AS mute SET
            username = CASE WHEN mute.username = p_username THEN p_pseudonym ELSE mute.username END,
            note = radmeter.without_name(jsonb_build_object('note', mute.note), p_username, p_pseudonym) ->> 'note'
        WHERE mute.username = p_username
           OR strpos(mute.note, p_username) > 0
              AND radmeter.without_name(jsonb_build_object('note', mute.note), p_username, p_pseudonym) ->> 'note'
                  <> mute.note
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM erased) + (SELECT count(*) FROM unmuted);
$$;
