-- radmeter.begin_request(key_id, idempotency_key, request, body_sha256): begins a write by the HTTP API.
--   request  method and path
-- Keys that were rotated one into the next are one family: a write that was begun with one is known to the others.
-- Returns what is to be done: new (do it, then end_request), running (another transaction does it), other (the key was
-- used for another request), done (with the status and the body of the answer).
-- A write is in progress while its transaction holds an advisory lock. Nothing is left of one that was refused or cut
-- off: it may be tried again as soon as its transaction has ended.
-- A row without an answer is of a `radmeter serve` before this one, which commits the beginning by itself. It may be
-- begun again after two minutes. Then the first can end it no more: started_at says which of both it is.
-- Called by `radmeter serve`, in the transaction of the write. Reads radmeter.api_keys, writes api_requests.
-- SQLSTATE 55P03: the same request is being ended, and that takes longer than three seconds.
CREATE OR REPLACE FUNCTION radmeter.begin_request(
    p_key_id text, p_idempotency_key text, p_request text, p_body_sha256 bytea,
    OUT state text, OUT started_at timestamptz, OUT status integer, OUT body bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
DECLARE
    v_family text := (SELECT family FROM radmeter.api_keys WHERE id = p_key_id);
    v_found radmeter.api_requests%ROWTYPE;
BEGIN
    -- Before the lock, since any number may get the answer at once.
    SELECT * INTO v_found FROM radmeter.api_requests
    WHERE key_id = v_family AND idempotency_key = p_idempotency_key AND finished_at IS NOT NULL;
    IF NOT FOUND THEN
        -- An INSERT of a key that is under way would wait for its transaction. Two keys have the same hash once in 2^64
        -- times: then one of them is told to come again.
        IF NOT pg_try_advisory_xact_lock(
            hashtextextended('radmeter.api_request ' || v_family || ' ' || p_idempotency_key, 0)) THEN
            state := 'running';
            RETURN;
        END IF;
        INSERT INTO radmeter.api_requests AS known (key_id, idempotency_key, request, body_sha256, started_at)
        VALUES (v_family, p_idempotency_key, p_request, p_body_sha256, now())
        ON CONFLICT (key_id, idempotency_key) DO UPDATE SET started_at = excluded.started_at
        WHERE known.finished_at IS NULL AND known.started_at < now() - interval '2 minutes'
          AND known.request = excluded.request AND known.body_sha256 = excluded.body_sha256;
        IF FOUND THEN
            state := 'new';
            started_at := now();
            RETURN;
        END IF;
        -- It has ended since the first look.
        SELECT * INTO v_found FROM radmeter.api_requests
        WHERE key_id = v_family AND idempotency_key = p_idempotency_key;
    END IF;
    state := CASE WHEN v_found.request IS DISTINCT FROM p_request OR v_found.body_sha256 IS DISTINCT FROM p_body_sha256
                  THEN 'other' WHEN v_found.finished_at IS NULL THEN 'running' ELSE 'done' END;
    IF state = 'done' THEN
        status := v_found.status;
        body := v_found.body;
    END IF;
END;
$$;
