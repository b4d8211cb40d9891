"""The three ways in which packets get into the database: shipper, replay of detail files, retry of rejected packets."""
