"""What a packet says. Pure: no clock, no socket, no database."""
