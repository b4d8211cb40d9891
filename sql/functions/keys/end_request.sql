-- radmeter.end_request(key_id, idempotency_key, request, body_sha256, status, body): keeps the answer to a write by the
-- HTTP API.
--   status, body  the answer
-- Returns whether there was none yet. False: the write was done before, and must be rolled back.
-- Called by `radmeter serve` at the end of the transaction of the write, so that both or none of them is there.
-- Reads radmeter.api_keys, writes api_requests.
CREATE OR REPLACE FUNCTION radmeter.end_request(
    p_key_id text, p_idempotency_key text, p_request text, p_body_sha256 bytea, p_status integer, p_body bytea)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    INSERT INTO radmeter.api_requests
        (key_id, idempotency_key, request, body_sha256, started_at, finished_at, status, body)
    SELECT family, p_idempotency_key, p_request, p_body_sha256, now(), clock_timestamp(), p_status, p_body
    FROM radmeter.api_keys WHERE id = p_key_id
    ON CONFLICT (key_id, idempotency_key) DO NOTHING;
    RETURN FOUND;
END;
$$;
