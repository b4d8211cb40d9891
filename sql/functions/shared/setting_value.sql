-- radmeter.setting_value(name): the value of a setting of this installation.
-- Returns text; NULL if there is no such setting. Reads radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.setting_value(p_name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT value FROM radmeter.setting WHERE name = p_name;
END;
