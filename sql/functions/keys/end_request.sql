-- radmeter.end_request(key_id, idempotency_key, status, body): ends a write by the HTTP API.
--   status, body  the answer. NULL: it was refused, so the same request may be tried again
-- Called by `radmeter serve`: with an answer in the transaction of the write, so that both or none of them is there.
-- Writes radmeter.api_requests.
CREATE OR REPLACE FUNCTION radmeter.end_request(p_key_id text, p_idempotency_key text, p_status integer, p_body bytea)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM radmeter.api_requests
    WHERE key_id = p_key_id AND idempotency_key = p_idempotency_key AND p_status IS NULL AND finished_at IS NULL;
    UPDATE radmeter.api_requests SET finished_at = now(), status = p_status, body = p_body
    WHERE key_id = p_key_id AND idempotency_key = p_idempotency_key AND p_status IS NOT NULL;
$$;
