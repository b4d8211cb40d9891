"""Billing: closed months, documents, and what is made from them."""
