"""FreeRADIUS's own radacct becomes radmeter's, and back; its history is counted."""
