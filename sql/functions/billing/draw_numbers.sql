-- radmeter.draw_numbers(issuer, kind, count): takes the next numbers of an issuer, for documents that are issued in this
-- transaction. The row of radmeter.document_number stays locked until its end: nobody else gets a number before it is
-- known whether these were given out, so there are no gaps.
--   kind  'invoice' or 'credit_note'
-- Returns the year that counts (0: numbers run on over the years), the year that is written, the number before the first
-- one, and the format. Called by radmeter.issue_drafts and radmeter.add_credit_note only, which hold the lock
-- radmeter.billing. Writes radmeter.document_number. Reads radmeter.issuers, invoices, credit_notes.
-- SQLSTATE RM001: one of the numbers is written on a document already, also of another issuer or kind.
CREATE OR REPLACE FUNCTION radmeter.draw_numbers(p_issuer bigint, p_kind text, p_count bigint)
RETURNS TABLE (number_year integer, written_year integer, before bigint, format text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_yearly boolean;
    v_taken record;
BEGIN
    written_year := extract(year FROM now() AT TIME ZONE radmeter.setting_value('timezone'));
    SELECT issuer.yearly, CASE p_kind WHEN 'invoice' THEN issuer.number_format ELSE issuer.credit_format END
    INTO v_yearly, format FROM radmeter.issuers AS issuer WHERE issuer.id = p_issuer;
    number_year := CASE WHEN v_yearly THEN written_year ELSE 0 END;
    INSERT INTO radmeter.document_number AS counter (issuer_id, kind, year, last)
    VALUES (p_issuer, p_kind, number_year, p_count)
    ON CONFLICT (issuer_id, kind, year) DO UPDATE SET last = counter.last + p_count
    RETURNING counter.last - p_count INTO before;
    -- Formats may make the same text of other numbers ('{number}' of 11 and '1{number}' of 1), and can change.
    SELECT document.number, document.what, issuer.name INTO v_taken
    FROM generate_series(before + 1, before + p_count) AS drawn (sequence)
    CROSS JOIN LATERAL radmeter.number_text(format, written_year, drawn.sequence) AS text
    CROSS JOIN LATERAL (
        SELECT invoice.number, invoice.issuer_id, 'an invoice' AS what FROM public.invoices AS invoice
        WHERE invoice.number = text
        UNION ALL
        SELECT note.number, note.issuer_id, 'a credit note' FROM public.credit_notes AS note WHERE note.number = text
    ) AS document
    LEFT JOIN radmeter.issuers AS issuer ON issuer.id = document.issuer_id
    ORDER BY drawn.sequence LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the number % is that of % of the issuer "%" already: give the issuer "%" another format of numbers, '
            'with "radmeter billing issuers set"', v_taken.number, v_taken.what, coalesce(v_taken.name, 'unknown'),
            (SELECT issuer.name FROM radmeter.issuers AS issuer WHERE issuer.id = p_issuer) USING ERRCODE = 'RM001';
    END IF;
    RETURN NEXT;
END;
$$;
