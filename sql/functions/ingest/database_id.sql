-- radmeter.database_id(): which database this is. Its backups and standbys have the same id.
-- Reads radmeter.database_identity.
CREATE OR REPLACE FUNCTION radmeter.database_id() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT id FROM radmeter.database_identity;
$$;
