-- radmeter.erase_deliveries(username, pseudonym): puts the pseudonym of an erased person into messages, also those that
-- wait. Returns how many were changed. Called by radmeter.erase_notes. Writes radmeter.webhook_delivery.
CREATE OR REPLACE FUNCTION radmeter.erase_deliveries(p_username text, p_pseudonym text) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    WITH erased AS (
        UPDATE radmeter.webhook_delivery SET
            subject = p_pseudonym, data = radmeter.without_name(data, p_username, p_pseudonym)
        WHERE subject = p_username RETURNING 1
    )
    SELECT count(*) FROM erased;
$$;
