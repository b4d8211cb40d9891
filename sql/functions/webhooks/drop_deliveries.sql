-- radmeter.drop_deliveries(webhook_id): drops what waits for an endpoint that is retired. Called by
-- radmeter.change_webhook. Writes radmeter.webhook_delivery.
CREATE OR REPLACE FUNCTION radmeter.drop_deliveries(p_webhook_id bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE radmeter.webhook_delivery SET state = 'dropped', ended_at = now(), claimed_by = NULL,
        claimed_until = NULL, error = 'the endpoint was retired'
    WHERE webhook_id = p_webhook_id AND state = 'waiting';
$$;
