-- radmeter.end_request(key_id, idempotency_key, started_at, status, body): ends a write by the HTTP API.
--   started_at    what begin_request returned
--   status, body  the answer. NULL: it was refused. Only a server before this one says so: see begin_request
-- Returns whether it was still this one's to end. False: it took so long that another connection has begun it again.
-- Called by `radmeter serve`: with an answer in the transaction of the write, so that both or none of them is there.
-- Reads radmeter.api_keys, writes api_requests.
CREATE OR REPLACE FUNCTION radmeter.end_request(
    p_key_id text, p_idempotency_key text, p_started_at timestamptz, p_status integer, p_body bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
DECLARE
    v_family text := (SELECT family FROM radmeter.api_keys WHERE id = p_key_id);
BEGIN
    IF p_status IS NULL THEN
        DELETE FROM radmeter.api_requests
        WHERE key_id = v_family AND idempotency_key = p_idempotency_key AND started_at = p_started_at
          AND finished_at IS NULL;
    ELSE
        UPDATE radmeter.api_requests SET finished_at = now(), status = p_status, body = p_body
        WHERE key_id = v_family AND idempotency_key = p_idempotency_key AND started_at = p_started_at
          AND finished_at IS NULL;
    END IF;
    RETURN FOUND;
END;
$$;
