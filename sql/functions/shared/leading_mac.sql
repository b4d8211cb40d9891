-- radmeter.leading_mac(text, alone): the MAC address at the head of a text, in the forms of packet/router_key.py.
--   alone  the text must have nothing else
-- Returns macaddr; NULL if there is none, or a placeholder.
CREATE OR REPLACE FUNCTION radmeter.leading_mac(p_text text, p_alone boolean) RETURNS macaddr
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT nullif(nullif(mac, '00:00:00:00:00:00'), 'ff:ff:ff:ff:ff:ff')
    FROM regexp_match(CASE WHEN p_alone THEN btrim(p_text, E' \t"''') ELSE ltrim(p_text, E' \t"''') END,
        -- p is a pair of hexadecimal digits, q are four, w is a letter or digit.
        replace(replace(replace('^((?:p-){5}p(?!-p-p(?!w))|(?:p:){5}p(?!:p:p(?!w))|(?:p ){5}p(?! p p(?!w))'
            '|q[.]q[.]q(?![.]q(?!w))|q-q-q(?!-q(?!w))|q:q:q(?!:q(?!w))|(?:p){6})'
            || CASE WHEN p_alone THEN '$' ELSE '(?!w)' END,
            'p', '[0-9A-Fa-f]{2}'), 'q', '[0-9A-Fa-f]{4}'), 'w', '[0-9A-Za-z]')) AS found,
        LATERAL (SELECT regexp_replace(found[1], '[^0-9A-Fa-f]', '', 'g')::macaddr AS mac) AS digits;
$$;
