-- radmeter.number_text(format, year, number): a number as it is written on a document. In the format {year} is the year of
-- the issue and {number} the number; {number:06} has zeros before it, up to six digits.
CREATE OR REPLACE FUNCTION radmeter.number_text(p_format text, p_year integer, p_number bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT regexp_replace(
        replace(p_format, '{year}', p_year::text), '\{number(:\d+)?\}',
        lpad(p_number::text,
             greatest(length(p_number::text), coalesce(substring(p_format FROM '\{number:(\d+)\}')::integer, 1)), '0'));
$$;
