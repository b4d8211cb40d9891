"""The three ways into `radmeter.ingest`: the shipper, the replay of detail files, the retry of rejected packets."""
