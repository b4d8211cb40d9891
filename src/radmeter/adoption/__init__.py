"""Adopts FreeRADIUS's own radacct, gives it back, and counts its history."""
