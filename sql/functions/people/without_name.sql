-- radmeter.without_name(value, name, pseudonym): a JSON value with a pseudonym in place of a name.
-- A string that is the name is replaced. In a longer string, such as a reason, the name is replaced where it stands in
-- quotation marks. Keys of objects stay: they are words of radmeter's own.
CREATE OR REPLACE FUNCTION radmeter.without_name(p_value jsonb, p_name text, p_pseudonym text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_text text;
BEGIN
    CASE jsonb_typeof(p_value)
        WHEN 'string' THEN
            v_text := p_value #>> '{}';
            IF v_text = p_name THEN
                RETURN to_jsonb(p_pseudonym);
            END IF;
            RETURN to_jsonb(replace(replace(v_text,
                '"' || p_name || '"', '"' || p_pseudonym || '"'), '''' || p_name || '''', '''' || p_pseudonym || ''''));
        WHEN 'array' THEN
            RETURN coalesce((SELECT jsonb_agg(radmeter.without_name(element, p_name, p_pseudonym) ORDER BY number)
                             FROM jsonb_array_elements(p_value) WITH ORDINALITY AS each (element, number)), p_value);
        WHEN 'object' THEN
            RETURN coalesce((SELECT jsonb_object_agg(key, radmeter.without_name(value, p_name, p_pseudonym))
                             FROM jsonb_each(p_value)), p_value);
        ELSE
            RETURN p_value;
    END CASE;
END;
$$;
