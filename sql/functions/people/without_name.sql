-- radmeter.without_name(value, name, pseudonym): a JSON value with a pseudonym in place of a name.
-- A string that is the name is replaced. Keys of objects stay: they are words of radmeter's own. The reason for which a
-- packet was rejected may quote an attribute: in a text under the key "reason", the name is replaced where it is a word.
-- The characters @ . - count as parts of a word, so that alice is not replaced in alice@example.org.
CREATE OR REPLACE FUNCTION radmeter.without_name(p_value jsonb, p_name text, p_pseudonym text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CASE jsonb_typeof(p_value)
        WHEN 'string' THEN
            RETURN CASE WHEN p_value #>> '{}' = p_name THEN to_jsonb(p_pseudonym) ELSE p_value END;
        WHEN 'array' THEN
            RETURN coalesce((SELECT jsonb_agg(radmeter.without_name(element, p_name, p_pseudonym) ORDER BY number)
                             FROM jsonb_array_elements(p_value) WITH ORDINALITY AS each (element, number)), p_value);
        WHEN 'object' THEN
            RETURN coalesce((SELECT jsonb_object_agg(key,
                CASE WHEN key = 'reason' AND jsonb_typeof(value) = 'string'
                     THEN to_jsonb(regexp_replace(value #>> '{}',
                         '(?<![\w@.-])' || regexp_replace(p_name, '(\W)', '\\\1', 'g') || '(?![\w@.-])', p_pseudonym, 'g'))
                     ELSE radmeter.without_name(value, p_name, p_pseudonym) END)
                FROM jsonb_each(p_value)), p_value);
        ELSE
            RETURN p_value;
    END CASE;
END;
$$;
