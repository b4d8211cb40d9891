-- radmeter.add_webhook(url, events, secret): makes an endpoint that gets messages of these types.
--   secret  encrypted
-- Returns its id. Writes radmeter.webhook, audit_log, which gets neither the secret nor the path of the URL.
-- SQLSTATE RM001: the URL is not one of HTTP, contains a password, or has an endpoint already.
CREATE OR REPLACE FUNCTION radmeter.add_webhook(p_url text, p_events text[], p_secret text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id bigint;
BEGIN
    IF p_url !~ '^https?://[^/?#@[:space:][:cntrl:]]+([/?][^#[:space:][:cntrl:]]*)?$' OR length(p_url) > 2000 THEN
        RAISE EXCEPTION 'not a URL of an endpoint: it begins with https:// and a host, without a user name, password or blanks'
            USING ERRCODE = 'RM001';
    ELSIF coalesce(p_secret, '') = '' OR coalesce(cardinality(p_events), 0) = 0 THEN
        RAISE EXCEPTION 'an endpoint needs a secret and at least one event' USING ERRCODE = 'RM001';
    END IF;
    INSERT INTO radmeter.webhook (url, events, secret) VALUES (p_url, p_events, p_secret)
    ON CONFLICT (url) WHERE retired_at IS NULL DO NOTHING RETURNING id INTO v_id;
    IF v_id IS NULL THEN
        RAISE EXCEPTION 'this URL is endpoint #% already', (SELECT id FROM radmeter.webhook
            WHERE url = p_url AND retired_at IS NULL) USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.audit('webhooks add', jsonb_build_object(
        'webhook', v_id, 'host', substring(p_url FROM '^https?://[^/?]+'), 'events', to_jsonb(p_events)));
    RETURN v_id;
END;
$$;
