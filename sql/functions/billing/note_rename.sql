-- radmeter.note_rename(): row trigger on subscribers and subscriber_plans, after an UPDATE of the name. Notes that a user has
-- under the new name what he had under the old one: it was not given again, so a one-time plan costs nothing once more.
-- The first argument is main or further. Row triggers come before those of the statement: radmeter.note_plan_history, which
-- notes what the old name lost, finds the row. A plan that is another one now was given.
-- Writes radmeter.plan_history.
CREATE OR REPLACE FUNCTION radmeter.note_rename() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO radmeter.plan_history (username, plan_id, at, held, main, tenant_id, together, renamed)
    SELECT NEW.username, NEW.plan_id, clock_timestamp(), true, TG_ARGV[0] = 'main', subscriber.tenant_id, now(), true
    FROM public.subscribers AS subscriber
    WHERE subscriber.username = NEW.username AND NEW.plan_id = OLD.plan_id AND NOT radmeter.is_pseudonym(NEW.username);
    RETURN NULL;
END;
$$;
