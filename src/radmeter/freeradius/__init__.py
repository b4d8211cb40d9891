"""FreeRADIUS as a program on this machine: the installed one, a private one, its configuration, is it alive."""
