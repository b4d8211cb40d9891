-- radmeter.rename_top_ups(): row trigger on subscribers, after an UPDATE of the name. Top-ups follow a user whose name changes.
-- They have no foreign key: what a user bought is billed also after he was removed.
-- Writes top_ups.
CREATE OR REPLACE FUNCTION radmeter.rename_top_ups() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.top_ups SET username = NEW.username WHERE username = OLD.username;
    RETURN NULL;
END;
$$;
