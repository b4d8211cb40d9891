-- radmeter.without_name(value, name, pseudonym): a JSON value with a pseudonym in place of a name.
-- Only under keys that hold names of users: a tenant, a plan, a router or an issuer may have the same name, and stays.
--   username, user  the name
--   user_counters   arrays, each of which begins with the name (radmeter.backfill_redo)
--   reason, note    a text that an operator wrote, or why a packet was rejected, which may quote an attribute: the name is
--                   replaced where it is a word. The characters @ . - count as parts of a word, so that alice is not
--                   replaced in alice@example.org
CREATE OR REPLACE FUNCTION radmeter.without_name(p_value jsonb, p_name text, p_pseudonym text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CASE jsonb_typeof(p_value)
        WHEN 'array' THEN
            RETURN coalesce((SELECT jsonb_agg(radmeter.without_name(element, p_name, p_pseudonym) ORDER BY number)
                             FROM jsonb_array_elements(p_value) WITH ORDINALITY AS each (element, number)), p_value);
        WHEN 'object' THEN
            RETURN coalesce((SELECT jsonb_object_agg(key, CASE
                WHEN key IN ('username', 'user') AND value = to_jsonb(p_name) THEN to_jsonb(p_pseudonym)
                WHEN key IN ('reason', 'note') AND jsonb_typeof(value) = 'string'
                    THEN to_jsonb(regexp_replace(value #>> '{}',
                        '(?<![\w@.-])' || regexp_replace(p_name, '(\W)', '\\\1', 'g') || '(?![\w@.-])', p_pseudonym, 'g'))
                WHEN key = 'user_counters' AND jsonb_typeof(value) = 'array'
                    THEN coalesce((SELECT jsonb_agg(CASE
                                       -- A scalar, too, has itself as element 0.
                                       WHEN jsonb_typeof(counter) = 'array' AND counter -> 0 = to_jsonb(p_name)
                                       THEN jsonb_set(counter, '{0}', to_jsonb(p_pseudonym)) ELSE counter END ORDER BY number)
                                   FROM jsonb_array_elements(value) WITH ORDINALITY AS each (counter, number)), value)
                ELSE radmeter.without_name(value, p_name, p_pseudonym) END)
                FROM jsonb_each(p_value)), p_value);
        ELSE
            RETURN p_value;
    END CASE;
END;
$$;
