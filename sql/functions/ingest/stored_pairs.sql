-- radmeter.stored_pairs(pairs): the content of a rejected packet, as it is stored.
-- A list of [name, value], both texts, up to 512 KiB stays as it is, and so does what radmeter.unpack_records makes of a
-- record beyond a limit: an object of plain values. All else becomes one text of at most 64 Ki characters. So whoever
-- reads rejected packets finds no depth and no number that its JSON parser does not take.
-- Called by radmeter.set_aside and radmeter.salvage_rejected only.
CREATE OR REPLACE FUNCTION radmeter.stored_pairs(p_pairs json) RETURNS json
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_plain boolean := false;
BEGIN
    IF octet_length(p_pairs::text) <= 524288 THEN
        IF json_typeof(p_pairs) = 'string' THEN
            v_plain := octet_length(p_pairs::text) <= 65536;
        ELSIF json_typeof(p_pairs) = 'array' THEN
            SELECT coalesce(bool_and(json_typeof(pair) = 'array' AND CASE json_typeof(pair) WHEN 'array' THEN
                json_array_length(pair) = 2 AND json_typeof(pair -> 0) = 'string' AND json_typeof(pair -> 1) = 'string'
                END), true)
            INTO v_plain FROM json_array_elements(p_pairs) AS pair;
        ELSIF json_typeof(p_pairs) = 'object' THEN
            SELECT coalesce(bool_and(json_typeof(value) IN ('string', 'boolean', 'null')
                                     OR json_typeof(value) = 'number' AND octet_length(value::text) <= 20), true)
            INTO v_plain FROM json_each(p_pairs);
        END IF;
    END IF;
    RETURN CASE WHEN v_plain THEN p_pairs ELSE to_json(left(p_pairs::text, 65536)) END;
EXCEPTION WHEN data_exception THEN  -- such as \u0000 in a name
    RETURN to_json(left(p_pairs::text, 65536));
END;
$$;
