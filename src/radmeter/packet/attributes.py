"""The RADIUS attributes that radmeter reads, under the names of FreeRADIUS's dictionary."""

# RFC 2865, RADIUS
USER_NAME = "User-Name"  # 5.1
NAS_IP_ADDRESS = "NAS-IP-Address"  # 5.4
NAS_PORT = "NAS-Port"  # 5.5
SERVICE_TYPE = "Service-Type"  # 5.6
FRAMED_PROTOCOL = "Framed-Protocol"  # 5.7
FRAMED_IP_ADDRESS = "Framed-IP-Address"  # 5.8
CLASS = "Class"  # 5.25
CALLED_STATION_ID = "Called-Station-Id"  # 5.30
CALLING_STATION_ID = "Calling-Station-Id"  # 5.31
NAS_IDENTIFIER = "NAS-Identifier"  # 5.32
NAS_PORT_TYPE = "NAS-Port-Type"  # 5.41

# RFC 2866, RADIUS Accounting
ACCT_STATUS_TYPE = "Acct-Status-Type"  # 5.1
ACCT_DELAY_TIME = "Acct-Delay-Time"  # 5.2, seconds
ACCT_INPUT_OCTETS = "Acct-Input-Octets"  # 5.3, from the user
ACCT_OUTPUT_OCTETS = "Acct-Output-Octets"  # 5.4, to the user
ACCT_SESSION_ID = "Acct-Session-Id"  # 5.5
ACCT_AUTHENTIC = "Acct-Authentic"  # 5.6
ACCT_SESSION_TIME = "Acct-Session-Time"  # 5.7, seconds
ACCT_TERMINATE_CAUSE = "Acct-Terminate-Cause"  # 5.10

# RFC 2869, RADIUS Extensions
ACCT_INPUT_GIGAWORDS = "Acct-Input-Gigawords"  # 5.1, how often Acct-Input-Octets wrapped around 2^32
ACCT_OUTPUT_GIGAWORDS = "Acct-Output-Gigawords"  # 5.2
EVENT_TIMESTAMP = "Event-Timestamp"  # 5.3, seconds since 1970
CONNECT_INFO = "Connect-Info"  # 5.11
ACCT_INTERIM_INTERVAL = "Acct-Interim-Interval"  # 5.16, seconds
NAS_PORT_ID = "NAS-Port-Id"  # 5.17

# RFC 3162, RADIUS and IPv6; RFC 4818; RFC 6911
NAS_IPV6_ADDRESS = "NAS-IPv6-Address"  # RFC 3162 2.1
FRAMED_INTERFACE_ID = "Framed-Interface-Id"  # RFC 3162 2.2
FRAMED_IPV6_PREFIX = "Framed-IPv6-Prefix"  # RFC 3162 2.3
DELEGATED_IPV6_PREFIX = "Delegated-IPv6-Prefix"  # RFC 4818 3
FRAMED_IPV6_ADDRESS = "Framed-IPv6-Address"  # RFC 6911 3.1

# Internal attributes of FreeRADIUS. Its realm modules set Realm; radius/policy.d/radmeter sets the others.
REALM = "Realm"
EVENT_TIMESTAMP_SECONDS = "Tmp-Integer-0"
SOURCE_IPV4 = "Tmp-IP-Address-0"
SOURCE_IPV6 = "Tmp-String-0"
# `radmeter people erase` puts it into rejected packets of an erased user: the packet's unique id, which depends on the
# name. It is believed only there. In a journal or a detail file it is left out, whoever has written it.
UNIQUE_ID_OF_ERASED = "Radmeter-Unique-Id"
# If a packet has text that is not UTF-8, the policy passes these text attributes as octets.
TEXT_AS_OCTETS = {
    "Tmp-Octets-0": USER_NAME,
    "Tmp-Octets-1": ACCT_SESSION_ID,
    "Tmp-Octets-2": CALLED_STATION_ID,
    "Tmp-Octets-3": CALLING_STATION_ID,
    "Tmp-Octets-4": NAS_IDENTIFIER,
    "Tmp-Octets-5": NAS_PORT_ID,
    "Tmp-Octets-6": "Acct-Multi-Session-Id",
    "Tmp-Octets-7": CONNECT_INFO,
}

# Acct-Status-Type (RFC 2866 section 5.1). Alive is an older name of Interim-Update in some dictionaries.
START = "Start"
STOP = "Stop"
INTERIM_UPDATE = "Interim-Update"
ACCOUNTING_ON = "Accounting-On"
ACCOUNTING_OFF = "Accounting-Off"
STATUS_NAMES = {
    "Start": START,
    "Stop": STOP,
    "Interim-Update": INTERIM_UPDATE,
    "Alive": INTERIM_UPDATE,
    "Accounting-On": ACCOUNTING_ON,
    "Accounting-Off": ACCOUNTING_OFF,
}
# They carry no usage of a user: tunnels (RFC 2867 section 4; the octets of a link are also in its sessions' packets),
# and what RFC 2866 section 5.1 reserves. A number stands for a value that the dictionary does not name.
STATUS_WITHOUT_USAGE = {
    "Tunnel-Start",
    "Tunnel-Stop",
    "Tunnel-Reject",
    "Tunnel-Link-Start",
    "Tunnel-Link-Stop",
    "Tunnel-Link-Reject",
    "Failed",
    *map(str, range(9, 16)),
}
SESSION_STATUS = {START, STOP, INTERIM_UPDATE}
