-- radmeter.note_split_change(): row trigger on a partition of radacct while radmeter partitions split copies it into months.
-- Each change of a row adds the session's id and stop to radmeter.split_change in the same transaction: those before the
-- change, and those after it if they differ. So the copies can be corrected, and the months are known that hold them.
-- If an UPDATE moves a session out of the partition, the trigger fires as for a DELETE, and if it moves one in, as for an
-- INSERT (PostgreSQL manual, "Overview of Trigger Behavior"). TRUNCATE is refused.
-- Writes radmeter.split_change.
CREATE OR REPLACE FUNCTION radmeter.note_split_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION '% is being split into months: finish that first, or give it up '
            '(radmeter partitions split % --abandon)', TG_TABLE_NAME, TG_TABLE_NAME USING ERRCODE = 'RM001';
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO radmeter.split_change (radacctid, acctstoptime) VALUES (OLD.radacctid, OLD.acctstoptime);
    END IF;
    IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE'
            AND (NEW.radacctid, NEW.acctstoptime) IS DISTINCT FROM (OLD.radacctid, OLD.acctstoptime) THEN
        INSERT INTO radmeter.split_change (radacctid, acctstoptime) VALUES (NEW.radacctid, NEW.acctstoptime);
    END IF;
    RETURN NULL;
END;
$$;
