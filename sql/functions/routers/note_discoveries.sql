-- radmeter.note_discoveries(client, discovered, beyond): counts what the packets of a RADIUS client discovered, and
-- notes the router keys beyond the limit.
--   beyond  the keys, as radmeter.discovery_key returns them; a key may come more than once
-- The number of keys beyond the limit is not kept, but a bit for the hash of each of them. From the bits that are not
-- set, the view radmeter.discovery_limits estimates the number. A counter would count each packet of a key.
-- Forgets clients that discovered nothing for a day and reached no limit for a week. Writes radmeter.discovery_count.
CREATE OR REPLACE FUNCTION radmeter.note_discoveries(p_client text, p_discovered bigint, p_beyond text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_began_at timestamptz;
    v_bits bit(4096);
BEGIN
    IF p_discovered = 0 AND cardinality(p_beyond) = 0 THEN
        RETURN;
    END IF;
    UPDATE radmeter.discovery_count SET
        discovered = p_discovered + CASE WHEN began_at > now() - interval '1 hour' THEN discovered ELSE 0 END,
        began_at = CASE WHEN began_at > now() - interval '1 hour' THEN began_at ELSE now() END
    WHERE client = p_client
    RETURNING began_at INTO v_began_at;
    IF NOT FOUND THEN
        DELETE FROM radmeter.discovery_count
        WHERE began_at < now() - interval '1 day' AND coalesce(beyond_until, '-infinity') < now() - interval '7 days';
        INSERT INTO radmeter.discovery_count (client, began_at, discovered) VALUES (p_client, now(), p_discovered)
        RETURNING began_at INTO v_began_at;
    END IF;
    IF cardinality(p_beyond) > 0 THEN
        SELECT bit_or(set_bit(0::bit(4096), hashtext(key) & 4095, 1)) INTO v_bits
        FROM unnest(p_beyond) AS key;
        UPDATE radmeter.discovery_count SET
            beyond_keys = CASE WHEN beyond_from = v_began_at THEN beyond_keys | v_bits ELSE v_bits END,
            beyond_from = v_began_at,
            beyond_until = now()
        WHERE client = p_client;
    END IF;
END;
$$;
