"""On disk before the reply: segments of records, one writer (radiusd), one reader (the shipper)."""
