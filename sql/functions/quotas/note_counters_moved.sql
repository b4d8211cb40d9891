-- radmeter.note_counters_moved(usernames): notes in radmeter.quota_change those users with limits whose counters somebody
-- other than the triggers on radacct has changed. radmeter.apply_due_quotas looks at them soon.
-- A user whose limits nobody has looked at yet has no account, but is noted since the plan was given.
-- Called by each function that writes user_quota_usage itself. Writes radmeter.quota_change.
CREATE OR REPLACE FUNCTION radmeter.note_counters_moved(p_usernames text[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO radmeter.quota_change (username)
    SELECT username FROM radmeter.quota_account WHERE username = ANY (p_usernames);
$$;
