-- radmeter.change_issuer(name, changes): changes an issuer. Documents keep what was copied into them.
--   changes  JSON object of columns of radmeter.issuers; null clears a value, an absent one stays
-- Returns whether anything changed. Writes radmeter.issuers, audit_log.
-- SQLSTATE RM001, with the reason: there is no such issuer, the name is taken, a value cannot be, or the issuer has given
-- numbers that could come again.
CREATE OR REPLACE FUNCTION radmeter.change_issuer(p_name text, p_changes jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_issuer radmeter.issuers%ROWTYPE;
    v_new radmeter.issuers%ROWTYPE;
BEGIN
    LOCK TABLE radmeter.issuers IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO v_issuer FROM radmeter.issuers WHERE id = radmeter.issuer_id(p_name);
    v_new := jsonb_populate_record(v_issuer, p_changes - ARRAY['id', 'created_at']);
    IF v_new IS NOT DISTINCT FROM v_issuer THEN
        RETURN false;
    END IF;
    PERFORM radmeter.check_issuer(v_new);
    IF v_new.yearly <> v_issuer.yearly AND EXISTS (
            SELECT FROM radmeter.document_number WHERE issuer_id = v_issuer.id AND last > 0) THEN
        RAISE EXCEPTION 'the issuer "%" has given numbers, which would come again: add another issuer for numbers that begin '
            'in another way', v_issuer.name USING ERRCODE = 'RM001';
    END IF;
    BEGIN
        UPDATE radmeter.issuers SET
            name = v_new.name, legal_name = v_new.legal_name, address = v_new.address, tax_id = v_new.tax_id,
            number_format = v_new.number_format, credit_format = v_new.credit_format, yearly = v_new.yearly
        WHERE id = v_issuer.id;
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'there is an issuer "%" already: give another name', v_new.name USING ERRCODE = 'RM001';
    END;
    PERFORM radmeter.audit('billing issuers set', jsonb_build_object(
        'before', to_jsonb(v_issuer) - 'created_at', 'after', to_jsonb(v_new) - 'created_at'));
    RETURN true;
END;
$$;
