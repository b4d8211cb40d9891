-- radmeter.due_webhooks(): the endpoints for which deliveries are due, with their encrypted secrets, the present one first.
-- Called by the jobs each second: reads the end of one index for each endpoint.
CREATE OR REPLACE FUNCTION radmeter.due_webhooks() RETURNS TABLE (id bigint, url text, secrets text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT id, url, radmeter.webhook_secrets(id) FROM radmeter.webhook
    WHERE retired_at IS NULL AND switched_off_at IS NULL AND (paused_until IS NULL OR paused_until <= now())
      AND EXISTS (SELECT FROM radmeter.webhook_delivery AS delivery
                  WHERE delivery.webhook_id = webhook.id AND delivery.state = 'waiting'
                    AND delivery.next_try_at <= now()
                    AND (delivery.claimed_until IS NULL OR delivery.claimed_until <= now()));
$$;
