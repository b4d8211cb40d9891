-- radmeter.expiring(): the rejected packets, anomalies, requests to routers, quota notices, deliveries of webhooks, alerts,
-- mails and mutes that are older, or take more room, than the limits allow.
-- Returns a row for each table (kind) and reason (age or size) with something to remove: the rows with ids up to until_id.
-- The size is added up from the latest row backwards, only if the table and its indexes take more than the limit.
-- Called by the jobs. Reads rejected_packet, accounting_anomaly, radmeter.disconnect_queue, radmeter.quota_notice,
-- radmeter.webhook_delivery, radmeter.alerts, radmeter.alert_mail, radmeter.alert_mutes. Waits for no lock.
CREATE OR REPLACE FUNCTION radmeter.expiring()
RETURNS TABLE (kind text, reason text, until_id bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT 'rejected packet', 'age', max(id) FROM public.rejected_packet
    WHERE rejected_at < now() - radmeter.limit_value('rejected_keep_days') * interval '1 day' HAVING max(id) IS NOT NULL;

    IF pg_total_relation_size('public.rejected_packet') > radmeter.limit_value('rejected_keep_bytes') THEN
        RETURN QUERY
        SELECT 'rejected packet', 'size', id
        FROM (SELECT id, sum(pg_column_size(pairs) + octet_length(packet.reason) + 200) OVER (ORDER BY id DESC) AS bytes
              FROM public.rejected_packet AS packet) AS summed
        WHERE bytes > radmeter.limit_value('rejected_keep_bytes') ORDER BY id DESC LIMIT 1;
    END IF;

    RETURN QUERY
    SELECT 'anomaly', 'age', max(id) FROM public.accounting_anomaly
    WHERE detected_at < now() - radmeter.limit_value('anomalies_keep_days') * interval '1 day'
    HAVING max(id) IS NOT NULL;

    IF pg_total_relation_size('public.accounting_anomaly') > radmeter.limit_value('anomalies_keep_bytes') THEN
        RETURN QUERY
        SELECT 'anomaly', 'size', id
        FROM (SELECT id, sum(pg_column_size(anomaly.*) + 100) OVER (ORDER BY id DESC) AS bytes
              FROM public.accounting_anomaly AS anomaly) AS summed
        WHERE bytes > radmeter.limit_value('anomalies_keep_bytes') ORDER BY id DESC LIMIT 1;
    END IF;

    RETURN QUERY
    SELECT 'request to a router', 'age', max(id) FROM radmeter.disconnect_queue
    WHERE ended_at < now() - radmeter.limit_value('quota_history_keep_days') * interval '1 day'
    HAVING max(id) IS NOT NULL;

    RETURN QUERY
    SELECT 'quota notice', 'age', max(id) FROM radmeter.quota_notice
    WHERE at < now() - radmeter.limit_value('quota_history_keep_days') * interval '1 day'
    HAVING max(id) IS NOT NULL;

    RETURN QUERY
    SELECT 'webhook delivery', 'age', max(id) FROM radmeter.webhook_delivery
    WHERE ended_at < now() - radmeter.limit_value('webhook_keep_days') * interval '1 day' HAVING max(id) IS NOT NULL;

    RETURN QUERY
    SELECT 'alert', 'age', max(id) FROM radmeter.alerts
    WHERE resolved_at < now() - radmeter.limit_value('alerts_keep_days') * interval '1 day' HAVING max(id) IS NOT NULL;

    RETURN QUERY
    SELECT 'mail about alerts', 'age', max(id) FROM radmeter.alert_mail
    WHERE ended_at < now() - radmeter.limit_value('webhook_keep_days') * interval '1 day' HAVING max(id) IS NOT NULL;

    RETURN QUERY
    SELECT 'mute of alerts', 'age', max(id) FROM radmeter.alert_mutes
    WHERE until_at < now() - radmeter.limit_value('alerts_keep_days') * interval '1 day' HAVING max(id) IS NOT NULL;
END;
$$;
