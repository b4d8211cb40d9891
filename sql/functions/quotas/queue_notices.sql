-- radmeter.queue_notices(): statement trigger on radmeter.quota_notice. Queues each notice for the endpoints of webhooks
-- that want it, in the transaction of what happened: quota.warned, quota.over, quota.restored.
-- Without endpoints it reads one empty table.
CREATE OR REPLACE FUNCTION radmeter.queue_notices() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM radmeter.webhook WHERE retired_at IS NULL AND switched_off_at IS NULL) THEN
        PERFORM radmeter.queue_deliveries(
            array_agg('quota.' || kind ORDER BY id), array_agg(username ORDER BY id), array_agg(at ORDER BY id),
            array_agg(jsonb_build_object('username', username, 'threshold', percent, 'period_start', period_start)
                      || detail ORDER BY id))
        FROM new_notices HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END;
$$;
