"""What runs every few minutes, on one machine at a time."""
