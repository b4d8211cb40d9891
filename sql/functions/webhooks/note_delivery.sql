-- radmeter.note_delivery(holder, id, status, error, after_seconds): notes how an attempt of a delivery ended.
--   status         of the answer (HTTP); NULL: there was none
--   error          why the endpoint did not take it; NULL: it did
--   after_seconds  when to try again; NULL: never, the delivery is dead
-- 410 switches the endpoint off: whatever waits for it is dead. Without any answer, or with 429 or 5xx, the endpoint is
-- paused for as long as it has failed, up to 5 minutes. A delivery that it takes removes a former secret whose time is
-- over. Nothing is noted if somebody else has claimed the delivery since.
-- Called by the jobs. Writes radmeter.webhook_delivery, radmeter.webhook.
CREATE OR REPLACE FUNCTION radmeter.note_delivery(
    p_holder uuid, p_id bigint, p_status integer, p_error text, p_after_seconds double precision) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_webhook bigint;
BEGIN
    -- The endpoint first, as radmeter.change_webhook locks it.
    PERFORM FROM radmeter.webhook
    WHERE id = (SELECT webhook_id FROM radmeter.webhook_delivery WHERE id = p_id) FOR KEY SHARE;
    UPDATE radmeter.webhook_delivery SET
        state = CASE WHEN p_error IS NULL THEN 'done' WHEN p_after_seconds IS NULL THEN 'dead' ELSE 'waiting' END,
        ended_at = CASE WHEN p_error IS NULL OR p_after_seconds IS NULL THEN now() END,
        status = p_status, error = p_error, claimed_by = NULL, claimed_until = NULL,
        next_try_at = now() + make_interval(secs => coalesce(p_after_seconds, 0))
    WHERE id = p_id AND claimed_by = p_holder AND state = 'waiting'
    RETURNING webhook_id INTO v_webhook;
    IF NOT FOUND THEN
        RETURN;
    ELSIF p_status = 410 THEN
        UPDATE radmeter.webhook SET switched_off_at = now() WHERE id = v_webhook AND switched_off_at IS NULL;
        UPDATE radmeter.webhook_delivery SET
            state = 'dead', ended_at = now(), claimed_by = NULL, claimed_until = NULL,
            error = 'the endpoint was switched off: it answered 410 Gone'
        -- Not those of which somebody notes the result just now.
        WHERE id IN (SELECT id FROM radmeter.webhook_delivery WHERE webhook_id = v_webhook AND state = 'waiting'
                     FOR UPDATE SKIP LOCKED);
    ELSIF p_error IS NOT NULL AND (p_status IS NULL OR p_status = 429 OR p_status >= 500) THEN
        UPDATE radmeter.webhook SET failures = failures + 1,
            paused_until = now() + least(2 ^ least(failures, 10), 300) * interval '1 second'
        WHERE id = v_webhook;
    ELSE
        UPDATE radmeter.webhook SET failures = 0, paused_until = NULL,
            former_secret = CASE WHEN former_until > now() THEN former_secret END,
            former_until = CASE WHEN former_until > now() THEN former_until END
        WHERE id = v_webhook AND (failures > 0 OR former_until <= now());
    END IF;
END;
$$;
