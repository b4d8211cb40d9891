-- radmeter.check_issuer(issuer): refuses values of an issuer that cannot be. Two documents never have the same number, so no
-- other kind of document, and no other issuer, has the same format. Different formats can still make the same number:
-- radmeter.draw_numbers refuses that.
-- Called by radmeter.add_issuer, radmeter.change_issuer. Reads radmeter.issuers.
-- SQLSTATE RM001, with the reason.
CREATE OR REPLACE FUNCTION radmeter.check_issuer(p_issuer radmeter.issuers) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_formats text[] := ARRAY[p_issuer.number_format, p_issuer.credit_format];
    v_format text;
    v_bare text;
    v_other text;
BEGIN
    IF p_issuer.name !~ '[^[:space:]]' OR length(p_issuer.name) > 200 OR p_issuer.name ~ '^\s|\s$' THEN
        RAISE EXCEPTION 'the name of an issuer has 1 to 200 characters, and no blanks at its ends'
            USING ERRCODE = 'RM001';
    END IF;
    FOREACH v_format IN ARRAY v_formats LOOP
        v_bare := regexp_replace(regexp_replace(v_format, '\{number(:0[1-9])?\}', ''), '\{year\}', '');
        -- What is left is a part of the name of a file.
        IF v_format !~ '\{number(:0[1-9])?\}' OR v_bare !~ '^[A-Za-z0-9_.-]{0,40}$' OR v_format ~ '^\.' THEN
            RAISE EXCEPTION 'a format of numbers has {number} or {number:06} once, {year} at most once, and beside it letters, '
                'digits, dots and dashes, such as R-{year}-{number:06}, not "%"', v_format USING ERRCODE = 'RM001';
        ELSIF p_issuer.yearly AND v_format !~ '\{year\}' THEN
            RAISE EXCEPTION 'numbers begin with 1 again each year, so the format needs {year}: "%"', v_format
                USING ERRCODE = 'RM001';
        END IF;
    END LOOP;
    SELECT other.name INTO v_other
    FROM radmeter.issuers AS other, unnest(ARRAY[other.number_format, other.credit_format]) AS taken
    WHERE other.id <> coalesce(p_issuer.id, 0)
      AND regexp_replace(taken, ':0[1-9]', '') IN (
          SELECT regexp_replace(each, ':0[1-9]', '') FROM unnest(v_formats) AS each)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the issuer "%" has such a format of numbers: two documents would have the same number. Give another '
            '--number-format and --credit-format', v_other USING ERRCODE = 'RM001';
    ELSIF regexp_replace(v_formats[1], ':0[1-9]', '') = regexp_replace(v_formats[2], ':0[1-9]', '') THEN
        RAISE EXCEPTION 'invoices and credit notes would have the same numbers: give two formats' USING ERRCODE = 'RM001';
    END IF;
END;
$$;
