-- radmeter.leading_mac(text, alone): the MAC address at the head of a text, in the forms of packet/router_key.py.
--   alone  the text must have nothing else
-- Returns macaddr; NULL if there is none, or a placeholder.
-- The form is 6 pairs, 3 fours or 2 sixes of digits with one separator, or 12 digits. The next character is no letter or
-- digit. If two more octets follow in the form of pairs or fours, it is an EUI-64.
CREATE OR REPLACE FUNCTION radmeter.leading_mac(p_text text, p_alone boolean) RETURNS macaddr
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT nullif(nullif(mac, '00:00:00:00:00:00'), 'ff:ff:ff:ff:ff:ff')
        FROM regexp_match(CASE WHEN p_alone THEN btrim(p_text, E' \t"\'\'') ELSE ltrim(p_text, E' \t"\'\'') END,
            -- h is a hexadecimal digit, s is a character of ASCII that is neither a letter nor a digit.
            replace(replace('^(h{2}(s)h{2}(?:\2h{2}){4}|h{4}(s)h{4}\3h{4}|h{6}sh{6}|h{12})(.*)$',
                'h', '[0-9A-Fa-f]'), 's', '[ -/:-@[-`{-~]')) AS part,
            LATERAL (SELECT part[2] AS pair, part[3] AS quad, part[4] AS rest) AS form,
            LATERAL (SELECT regexp_replace(part[1], '[^0-9A-Fa-f]', '', 'g')::macaddr AS mac) AS digits
        WHERE CASE WHEN p_alone THEN rest = '' ELSE rest !~ '^[0-9A-Za-z]' END
          AND (left(rest, 1) = pair AND substr(rest, 4, 1) = pair
               AND substr(rest, 2, 2) || substr(rest, 5) ~ '^[0-9A-Fa-f]{4}(?![0-9A-Za-z])') IS NOT TRUE
          AND (left(rest, 1) = quad AND substr(rest, 2) ~ '^[0-9A-Fa-f]{4}(?![0-9A-Za-z])') IS NOT TRUE);
END;
$$;
