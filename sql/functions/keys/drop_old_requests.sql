-- radmeter.drop_old_requests(rows): removes the answers to writes by the HTTP API that are older than a day, at most so
-- many.
-- Returns how many. Called by the jobs. Writes radmeter.api_requests.
CREATE OR REPLACE FUNCTION radmeter.drop_old_requests(p_rows integer) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    WITH dropped AS (
        DELETE FROM radmeter.api_requests WHERE (key_id, idempotency_key) IN (
            SELECT key_id, idempotency_key FROM radmeter.api_requests WHERE started_at < now() - interval '1 day'
            ORDER BY started_at LIMIT p_rows)
        RETURNING 1)
    SELECT count(*) FROM dropped;
$$;
