-- radmeter.guard_credit_lines(): statement trigger on credit_note_lines, after INSERT: the lines are the credit note, so none
-- can be added later. new_rows are the new lines.
-- SQLSTATE RM007: the lines of a credit note are not its sum. Reads credit_notes.
CREATE OR REPLACE FUNCTION radmeter.guard_credit_lines() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_number text;
BEGIN
    SELECT note.number INTO v_number FROM public.credit_notes AS note
    JOIN public.credit_note_lines AS line ON line.credit_note_id = note.id
    WHERE note.id IN (SELECT credit_note_id FROM new_rows)
    GROUP BY note.id HAVING sum(line.net) <> note.net
    LIMIT 1;
    IF v_number IS NOT NULL THEN
        RAISE EXCEPTION 'credit note % is not the sum of its lines: it never changes', v_number USING ERRCODE = 'RM007';
    END IF;
    RETURN NULL;
END;
$$;
