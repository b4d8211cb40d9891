-- radmeter.note_archive_change(): row trigger on a partition of radacct while radmeter partitions archive writes it to
-- a file. Each change of a row adds a row to radmeter.archive_change in the same transaction. So a quick look there,
-- while the partition is locked, tells whether the file still has the partition's content.
-- If an UPDATE moves a session out of the partition, the trigger fires as for a DELETE (PostgreSQL manual, "Overview of
-- Trigger Behavior"). Writes radmeter.archive_change.
CREATE OR REPLACE FUNCTION radmeter.note_archive_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO radmeter.archive_change (partition) VALUES (TG_TABLE_NAME);
    RETURN NULL;
END;
$$;
