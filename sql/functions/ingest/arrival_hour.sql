-- radmeter.arrival_hour(received_us): the hour of arrival under which rejected packets are limited and found again.
-- It is that of the arrival as sent, believed or not. So it is the same whenever the packet is sent. If the arrival is
-- missing, before 1970 or after the year 9999, it is the first hour of 1970.
CREATE OR REPLACE FUNCTION radmeter.arrival_hour(p_received_us bigint) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN timestamptz '1970-01-01 00:00:00+00'
    + CASE WHEN p_received_us BETWEEN 0 AND 253402300799999999 THEN p_received_us / 3600000000 ELSE 0 END * interval '1 hour';
