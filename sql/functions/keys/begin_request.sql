-- radmeter.begin_request(key_id, idempotency_key, request, body_sha256): begins a write by the HTTP API.
--   request  method and path
-- Keys that were rotated one into the next are one family: a write that was done with one is known to the others.
-- Returns what is to be done: new (do it, then end_request), running (another transaction does it), other (the key was
-- used for another request), done (with the status and the body of the answer).
-- A write is in progress while its transaction holds an advisory lock. Nothing else says so, and nothing is left of a
-- write that was refused or cut off: it may be tried again as soon as its transaction has ended.
-- Called by `radmeter serve`, in the transaction of the write. Reads radmeter.api_keys, api_requests.
CREATE OR REPLACE FUNCTION radmeter.begin_request(
    p_key_id text, p_idempotency_key text, p_request text, p_body_sha256 bytea,
    OUT state text, OUT status integer, OUT body bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_family text := (SELECT family FROM radmeter.api_keys WHERE id = p_key_id);
    v_found radmeter.api_requests%ROWTYPE;
BEGIN
    -- Before the lock, since answers are given to any number at once. Behind it, since another one may have ended between.
    FOR v_look IN 1 .. 2 LOOP
        SELECT * INTO v_found FROM radmeter.api_requests
        WHERE key_id = v_family AND idempotency_key = p_idempotency_key;
        IF FOUND THEN
            IF v_found.request <> p_request OR v_found.body_sha256 <> p_body_sha256 THEN
                state := 'other';
            ELSE
                state := 'done';
                status := v_found.status;
                body := v_found.body;
            END IF;
            RETURN;
        END IF;
        -- The hashes of two writes are one in 2^64 times: then one of them is told to come again.
        IF v_look = 1 AND NOT pg_try_advisory_xact_lock(
            hashtextextended('radmeter.api_request ' || v_family || ' ' || p_idempotency_key, 0)) THEN
            state := 'running';
            RETURN;
        END IF;
    END LOOP;
    state := 'new';
END;
$$;
