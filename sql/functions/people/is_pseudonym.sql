-- radmeter.is_pseudonym(username): whether a user name is a pseudonym that radmeter.begin_erasure made.
-- radmeter.update_open asks for each packet, so this is two cheap comparisons and not a lookup.
CREATE OR REPLACE FUNCTION radmeter.is_pseudonym(p_username text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN starts_with(p_username, 'erased-') AND length(p_username) = 39;
