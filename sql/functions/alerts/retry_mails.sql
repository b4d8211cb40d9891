-- radmeter.retry_mails(ids): sends dead e-mails about alerts again, at once, with all attempts and the same Message-ID.
-- ids NULL: all that are dead. Returns the ids of those that will be sent; those in another state are left alone.
-- Writes radmeter.alert_mail, audit_log.
CREATE OR REPLACE FUNCTION radmeter.retry_mails(p_ids bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_retried bigint[];
BEGIN
    WITH retried AS (
        UPDATE radmeter.alert_mail SET
            state = 'waiting', ended_at = NULL, attempts = 0, next_try_at = now(), claimed_by = NULL, claimed_until = NULL
        WHERE state = 'dead' AND (p_ids IS NULL OR id = ANY (p_ids))
        RETURNING id
    )
    SELECT coalesce(array_agg(id ORDER BY id), '{}') INTO v_retried FROM retried;
    IF v_retried <> '{}' THEN
        PERFORM radmeter.audit('alerts retry', jsonb_build_object('mails', to_jsonb(v_retried)));
    END IF;
    RETURN v_retried;
END;
$$;
