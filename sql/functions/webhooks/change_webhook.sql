-- radmeter.change_webhook(id, change, secret, former_seconds): changes an endpoint.
--   change  'rotate': messages are signed with `secret` (encrypted), and with the one before for `former_seconds` more
--           'enable': it gets messages again after it was switched off or paused
--           'retire': it gets no message any more, its secrets are removed, and what waits for it is dropped
-- Writes radmeter.webhook, radmeter.webhook_delivery, audit_log.
-- SQLSTATE RM001: there is no such endpoint, or it was retired.
CREATE OR REPLACE FUNCTION radmeter.change_webhook(
    p_id bigint, p_change text, p_secret text, p_former_seconds integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_webhook radmeter.webhook;
BEGIN
    IF p_change = 'retire' THEN
        -- Before the endpoint is locked, since transactions that count packets queue messages for it and would wait.
        PERFORM radmeter.drop_deliveries(p_id);
    END IF;
    SELECT * INTO v_webhook FROM radmeter.webhook WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no endpoint #%: `radmeter webhooks list` shows them', p_id USING ERRCODE = 'RM001';
    ELSIF v_webhook.retired_at IS NOT NULL THEN
        RAISE EXCEPTION 'endpoint #% was retired', p_id USING ERRCODE = 'RM001';
    ELSIF p_change = 'rotate' AND coalesce(p_secret, '') <> '' THEN
        UPDATE radmeter.webhook SET secret = p_secret,
            former_secret = CASE WHEN p_former_seconds > 0 THEN v_webhook.secret END,
            former_until = CASE WHEN p_former_seconds > 0 THEN now() + make_interval(secs => p_former_seconds) END
        WHERE id = p_id;
    ELSIF p_change = 'enable' THEN
        UPDATE radmeter.webhook SET switched_off_at = NULL, failures = 0, paused_until = NULL WHERE id = p_id;
    ELSIF p_change = 'retire' THEN
        UPDATE radmeter.webhook SET retired_at = now(), secret = NULL, former_secret = NULL, former_until = NULL
        WHERE id = p_id;
        -- What came meanwhile.
        PERFORM radmeter.drop_deliveries(p_id);
    ELSE
        RAISE EXCEPTION 'an endpoint is rotated with a secret, enabled or retired' USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.audit('webhooks ' || p_change, jsonb_build_object(
        'webhook', p_id, 'host', substring(v_webhook.url FROM '^https?://[^/?]+')));
END;
$$;
