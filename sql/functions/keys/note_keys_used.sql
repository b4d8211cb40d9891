-- radmeter.note_keys_used(ids): notes that keys are in use, at most once a minute each.
-- Called by `radmeter serve`. Writes radmeter.api_keys.
CREATE OR REPLACE FUNCTION radmeter.note_keys_used(p_ids text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE radmeter.api_keys SET last_used_at = date_trunc('minute', now())
    WHERE id = ANY (ARRAY(
        -- In one order, so that two programs do not wait for each other. Who comes second leaves the row.
        SELECT id FROM radmeter.api_keys
        WHERE id = ANY (p_ids) AND (last_used_at IS NULL OR last_used_at < date_trunc('minute', now()))
        ORDER BY id FOR UPDATE SKIP LOCKED));
$$;
