-- radmeter.expire(kind, until_id, rows): removes the oldest rows of a table that radmeter.expiring named, up to `rows` of
-- them. A request to a router that has not ended stays, and so does a delivery of a webhook, an alert, a mail or a mute
-- that is open or has ended later.
-- Rows that another transaction holds are left for later, so it waits for nobody.
-- Returns how many were removed. Called by the jobs. Writes rejected_packet, accounting_anomaly,
-- radmeter.disconnect_queue, radmeter.quota_notice, radmeter.webhook_delivery,
-- radmeter.alerts, radmeter.alert_mail or radmeter.alert_mutes.
CREATE OR REPLACE FUNCTION radmeter.expire(p_kind text, p_until_id bigint, p_rows integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_removed integer;
BEGIN
    IF p_kind = 'rejected packet' THEN
        DELETE FROM public.rejected_packet WHERE id IN (
            SELECT id FROM public.rejected_packet WHERE id <= p_until_id
            ORDER BY id LIMIT p_rows FOR UPDATE SKIP LOCKED);
    ELSIF p_kind = 'anomaly' THEN
        DELETE FROM public.accounting_anomaly WHERE id IN (
            SELECT id FROM public.accounting_anomaly WHERE id <= p_until_id
            ORDER BY id LIMIT p_rows FOR UPDATE SKIP LOCKED);
    ELSIF p_kind = 'webhook delivery' THEN
        DELETE FROM radmeter.webhook_delivery WHERE id IN (
            SELECT id FROM radmeter.webhook_delivery
            WHERE id <= p_until_id
              AND ended_at < now() - radmeter.limit_value('webhook_keep_days') * interval '1 day'
            ORDER BY id LIMIT p_rows FOR UPDATE SKIP LOCKED);
    ELSIF p_kind = 'alert' THEN
        DELETE FROM radmeter.alerts WHERE id IN (
            SELECT id FROM radmeter.alerts
            WHERE id <= p_until_id
              AND resolved_at < now() - radmeter.limit_value('alerts_keep_days') * interval '1 day'
            ORDER BY id LIMIT p_rows FOR UPDATE SKIP LOCKED);
    ELSIF p_kind = 'mail about alerts' THEN
        DELETE FROM radmeter.alert_mail WHERE id IN (
            SELECT id FROM radmeter.alert_mail
            WHERE id <= p_until_id
              AND ended_at < now() - radmeter.limit_value('webhook_keep_days') * interval '1 day'
            ORDER BY id LIMIT p_rows FOR UPDATE SKIP LOCKED);
    ELSIF p_kind = 'mute of alerts' THEN
        DELETE FROM radmeter.alert_mutes WHERE id IN (
            SELECT id FROM radmeter.alert_mutes
            WHERE id <= p_until_id
              AND until_at < now() - radmeter.limit_value('alerts_keep_days') * interval '1 day'
            ORDER BY id LIMIT p_rows FOR UPDATE SKIP LOCKED);
    ELSIF p_kind = 'request to a router' THEN
        DELETE FROM radmeter.disconnect_queue WHERE id IN (
            SELECT id FROM radmeter.disconnect_queue WHERE id <= p_until_id AND ended_at IS NOT NULL
            ORDER BY id LIMIT p_rows FOR UPDATE SKIP LOCKED);
    ELSIF p_kind = 'quota notice' THEN
        DELETE FROM radmeter.quota_notice WHERE id IN (
            SELECT id FROM radmeter.quota_notice WHERE id <= p_until_id
            ORDER BY id LIMIT p_rows FOR UPDATE SKIP LOCKED);
    ELSE
        RAISE EXCEPTION 'nothing of the kind "%" is removed', p_kind;
    END IF;
    GET DIAGNOSTICS v_removed = ROW_COUNT;
    RETURN v_removed;
END;
$$;
