-- radmeter.guard_number(): row trigger on radmeter.document_number, before UPDATE: a number that was given out is not given
-- out again.
-- SQLSTATE RM007: the last number becomes a lower one.
CREATE OR REPLACE FUNCTION radmeter.guard_number() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.last < OLD.last OR (NEW.issuer_id, NEW.kind, NEW.year) <> (OLD.issuer_id, OLD.kind, OLD.year) THEN
        RAISE EXCEPTION 'the last number of a document is %: it cannot become %', OLD.last, NEW.last USING ERRCODE = 'RM007';
    END IF;
    RETURN NEW;
END;
$$;
