-- radmeter.count_number(issuer, kind, year, number): notes that a number was given out before the database forgot it.
-- Called by radmeter.restore_invoice and radmeter.restore_credit_note only. Writes radmeter.document_number.
CREATE OR REPLACE FUNCTION radmeter.count_number(p_issuer bigint, p_kind text, p_year integer, p_number bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO radmeter.document_number AS counter (issuer_id, kind, year, last)
    VALUES (p_issuer, p_kind, p_year, p_number)
    ON CONFLICT (issuer_id, kind, year) DO UPDATE SET last = greatest(counter.last, p_number);
$$;
