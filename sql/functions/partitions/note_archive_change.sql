-- radmeter.note_archive_change(): row trigger on a partition of radacct while radmeter partitions archive writes it to a
-- file. A row that changes since is in radmeter.archive_change in the same transaction, so that looking there while the
-- partition is locked tells in no time whether the file is what the partition is.
-- A session that an UPDATE moves out of the partition fires it as a DELETE (PostgreSQL manual, "Overview of Trigger
-- Behavior"). Writes radmeter.archive_change.
CREATE OR REPLACE FUNCTION radmeter.note_archive_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO radmeter.archive_change (partition) VALUES (TG_RELID);
    RETURN NULL;
END;
$$;
