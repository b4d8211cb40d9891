-- radmeter.claim_deliveries(holder, webhook, seconds, most): the deliveries to an endpoint that are due, the oldest first.
-- They are the holder's for so many seconds: nobody else gets them, unless the holder has not noted a result by then.
-- The attempt is counted here, so that one counts that a kill cut off.
-- Returns nothing while the endpoint is paused, switched off or retired. Waits for no lock.
-- Called by the jobs. Writes radmeter.webhook_delivery.
CREATE OR REPLACE FUNCTION radmeter.claim_deliveries(p_holder uuid, p_webhook bigint, p_seconds integer, p_most integer)
RETURNS TABLE (id bigint, message_id uuid, type text, data jsonb, happened_at timestamptz, attempts integer)
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    WITH due AS MATERIALIZED (
        SELECT delivery.id FROM radmeter.webhook_delivery AS delivery
        WHERE delivery.webhook_id = p_webhook AND delivery.state = 'waiting' AND delivery.next_try_at <= now()
          AND (delivery.claimed_until IS NULL OR delivery.claimed_until <= now())
          AND EXISTS (SELECT FROM radmeter.webhook
                      WHERE webhook.id = p_webhook AND retired_at IS NULL AND switched_off_at IS NULL
                        AND (paused_until IS NULL OR paused_until <= now()))
        ORDER BY delivery.next_try_at, delivery.id LIMIT p_most
        FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE radmeter.webhook_delivery AS delivery SET
            claimed_by = p_holder, claimed_until = now() + make_interval(secs => p_seconds),
            attempts = delivery.attempts + 1, tried_at = now()
        FROM due WHERE delivery.id = due.id
        RETURNING delivery.*
    )
    SELECT id, message_id, type, data, happened_at, attempts FROM claimed ORDER BY next_try_at, id;
$$;
