-- radmeter.kept_as(kind, source, hour, senders): the name under which radmeter.kept_per_hour counts each RADIUS client.
-- That is the sender itself if it has a row or there is room for one, else `others`. There is room for a thousand rows of
-- a kind, source and hour. A sender that is one of the others stays so for the hour.
-- Called under the lock of radmeter.ingest. Reads radmeter.kept_per_hour.
CREATE OR REPLACE FUNCTION radmeter.kept_as(p_kind text, p_source text, p_hour timestamptz, p_senders text[])
RETURNS TABLE (sender text, client text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS MATERIALIZED (
        SELECT client FROM radmeter.kept_per_hour WHERE kind = p_kind AND source = p_source AND hour = p_hour
    )
    SELECT given.sender,
           CASE WHEN known.client IS NOT NULL
                     OR (SELECT count(*) FROM known)
                        + row_number() OVER (PARTITION BY known.client IS NULL ORDER BY given.sender) <= 1000
                THEN given.sender ELSE 'others' END
    FROM unnest(p_senders) AS given (sender) LEFT JOIN known ON known.client = given.sender;
$$;
