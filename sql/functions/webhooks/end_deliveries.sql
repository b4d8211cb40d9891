-- radmeter.end_deliveries(ids, change): 'retry' sends dead deliveries again, at once and with all attempts; 'drop' gives up
-- deliveries that are dead or wait. One that is being sent now may arrive all the same.
-- Returns the ids that were changed. Those in another state, or of an endpoint that is retired, are left alone.
-- Writes radmeter.webhook_delivery, audit_log.
CREATE OR REPLACE FUNCTION radmeter.end_deliveries(p_ids bigint[], p_change text) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_changed bigint[];
BEGIN
    WITH changed AS (
        UPDATE radmeter.webhook_delivery AS delivery SET
            state = CASE p_change WHEN 'retry' THEN 'waiting' ELSE 'dropped' END,
            ended_at = CASE p_change WHEN 'retry' THEN NULL ELSE now() END,
            attempts = CASE p_change WHEN 'retry' THEN 0 ELSE attempts END,
            next_try_at = now(), claimed_by = NULL, claimed_until = NULL
        WHERE id = ANY (p_ids)
          AND CASE p_change
                  WHEN 'retry' THEN state = 'dead' AND EXISTS (
                      SELECT FROM radmeter.webhook WHERE webhook.id = webhook_id AND retired_at IS NULL)
                  WHEN 'drop' THEN state IN ('dead', 'waiting')
                  ELSE false END
        RETURNING id
    )
    SELECT coalesce(array_agg(id ORDER BY id), '{}') INTO v_changed FROM changed;
    IF v_changed <> '{}' THEN
        PERFORM radmeter.audit('webhooks queue ' || p_change, jsonb_build_object('deliveries', to_jsonb(v_changed)));
    END IF;
    RETURN v_changed;
END;
$$;
