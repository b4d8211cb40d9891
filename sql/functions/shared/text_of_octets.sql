-- radmeter.text_of_octets(octets): the text of an attribute that came as octets, as packet/record.py restores it: UTF-8
-- is decoded, any other octet and NUL become \x and two hexadecimal digits.
-- Returns text.
CREATE OR REPLACE FUNCTION radmeter.text_of_octets(p_octets bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- In hexadecimal: well-formed UTF-8 (RFC 3629 section 4) in the first group, one other octet in the second.
    RETURN (
        SELECT coalesce(string_agg(coalesce(convert_from(decode(part[1], 'hex'), 'UTF8'), '\x' || part[2]), ''
                                   ORDER BY place), '')
        FROM regexp_matches(encode(p_octets, 'hex'),
            '((?:0[1-9a-f]|[1-7].|c[2-9a-f][89ab].|d.[89ab].'
            '|e0[ab].[89ab].|e[1-9a-cef][89ab].[89ab].|ed[89].[89ab].'
            '|f0[9ab].[89ab].[89ab].|f[1-3][89ab].[89ab].[89ab].|f48.[89ab].[89ab].)+)|(..)', 'g')
            WITH ORDINALITY AS parts (part, place));
END;
$$;
