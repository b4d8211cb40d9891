-- radmeter.guard_kept(): trigger of rows that nobody changes or removes: credit notes, closed months, the numbers
-- that were given out; and of TRUNCATE of all documents.
-- SQLSTATE RM007, always.
CREATE OR REPLACE FUNCTION radmeter.guard_kept() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '%.%: % is not allowed, since what was issued never changes: "radmeter billing discard" removes drafts, and "radmeter billing void" takes a document back',
        TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP USING ERRCODE = 'RM007';
END;
$$;
