-- radmeter.add_issuer(name, values): adds an issuer of documents, with numbers of its own.
--   values  JSON object of columns of radmeter.issuers; an absent value is the default of its column
-- Returns issuers.id. Writes radmeter.issuers, audit_log.
-- SQLSTATE RM001, with the reason: there is an issuer of this name, or a value cannot be.
CREATE OR REPLACE FUNCTION radmeter.add_issuer(p_name text, p_values jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_issuer radmeter.issuers%ROWTYPE;
BEGIN
    v_issuer := jsonb_populate_record(NULL::radmeter.issuers, p_values);
    v_issuer.id := NULL;
    v_issuer.name := p_name;
    v_issuer.number_format := coalesce(v_issuer.number_format, '{year}-{number:06}');
    v_issuer.credit_format := coalesce(v_issuer.credit_format, 'CN-' || v_issuer.number_format);
    v_issuer.yearly := coalesce(v_issuer.yearly, false);
    -- Formats are compared with those of others, who could be adding theirs now.
    LOCK TABLE radmeter.issuers IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM radmeter.issuers WHERE name = p_name) THEN
        RAISE EXCEPTION 'there is an issuer "%" already: "radmeter billing issuers set" changes it', p_name
            USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.check_issuer(v_issuer);
    INSERT INTO radmeter.issuers (name, legal_name, address, tax_id, number_format, credit_format, yearly)
    VALUES (v_issuer.name, v_issuer.legal_name, v_issuer.address, v_issuer.tax_id, v_issuer.number_format,
        v_issuer.credit_format, v_issuer.yearly)
    RETURNING * INTO v_issuer;
    PERFORM radmeter.audit('billing issuers add', to_jsonb(v_issuer) - 'created_at');
    RETURN v_issuer.id;
END;
$$;
