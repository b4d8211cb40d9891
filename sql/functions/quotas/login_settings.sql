-- radmeter.login_settings(): the settings of radmeter.authorize, in the order of their names.
-- Returns for each its name, the value in force, the default and the meaning. radmeter.set_login_setting changes a value.
-- Reads radmeter.setting, where the names begin with login_.
CREATE OR REPLACE FUNCTION radmeter.login_settings()
RETURNS TABLE (name text, value text, default_value text, meaning text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT known.name, coalesce(setting.value, known.default_value), known.default_value, known.meaning
    FROM (VALUES
        ('class', 'on', 'on: each login gets a Class of its own, by which its accounting packets are known; off'),
        ('interim_seconds', '300', 'Acct-Interim-Interval: seconds between two reports of a session; off: the router''s own'),
        ('octet_limits', 'always',
         'always: all limits of octets that the vendor has, so that the router itself ends the session, even after a '
         'top-up where CoA cannot change the limit; changeable: a router with CoA gets only those that CoA can change'),
        ('unknown_users', 'admit', 'users that are no subscribers: admit without limits, or refuse'),
        ('message_over', 'Your data allowance is used up.', 'Reply-Message to a user without octets left'),
        ('message_time', 'Your online time is used up.', 'Reply-Message to a user without seconds left'),
        ('message_expired', 'Your plan has expired.', 'Reply-Message when the validity of the plan is over'),
        ('message_suspended', 'Your account is suspended.', 'Reply-Message to a suspended user'),
        ('message_sessions', 'You are logged in on as many devices as your plan allows.',
         'Reply-Message when the plan allows no further session'),
        ('message_unknown', 'You have no plan here.', 'Reply-Message to a user that is no subscriber, if these are refused')
    ) AS known (name, default_value, meaning)
    LEFT JOIN radmeter.setting ON setting.name = 'login_' || known.name
    ORDER BY known.name;
END;
$$;
