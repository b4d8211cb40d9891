-- radmeter.draw_numbers(issuer, kind, count): takes the next numbers of an issuer, for documents that are issued in this
-- transaction. The row of radmeter.document_number stays locked until its end: nobody else gets a number before it is
-- known whether these were given out, so there are no gaps.
--   kind  'invoice' or 'credit_note'
-- Returns the year that counts (0: numbers run on over the years), the year that is written, the number before the first
-- one, and the format. Called by radmeter.issue_drafts and radmeter.add_credit_note only. Writes radmeter.document_number.
CREATE OR REPLACE FUNCTION radmeter.draw_numbers(p_issuer bigint, p_kind text, p_count bigint)
RETURNS TABLE (number_year integer, written_year integer, before bigint, format text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_yearly boolean;
BEGIN
    written_year := extract(year FROM now() AT TIME ZONE radmeter.setting_value('timezone'));
    SELECT issuer.yearly, CASE p_kind WHEN 'invoice' THEN issuer.number_format ELSE issuer.credit_format END
    INTO v_yearly, format FROM radmeter.issuers AS issuer WHERE issuer.id = p_issuer;
    number_year := CASE WHEN v_yearly THEN written_year ELSE 0 END;
    INSERT INTO radmeter.document_number AS counter (issuer_id, kind, year, last)
    VALUES (p_issuer, p_kind, number_year, p_count)
    ON CONFLICT (issuer_id, kind, year) DO UPDATE SET last = counter.last + p_count
    RETURNING counter.last - p_count INTO before;
    RETURN NEXT;
END;
$$;
