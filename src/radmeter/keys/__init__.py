"""Keys of the HTTP API: how they are made, checked and kept."""
