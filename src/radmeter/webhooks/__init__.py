"""Tells other programs by HTTP what happened: endpoints, and signed messages to them (Standard Webhooks 1.0.0).

A message is queued in the transaction of what it tells (`radmeter.queue_deliveries`). The jobs send it afterwards, at
least once, in no particular order. This room knows nothing of what the messages are about.
"""
