"""FreeRADIUS on this machine: the installed server, a private one, its configuration, and whether it answers."""
