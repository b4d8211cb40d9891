"""Billing: what a month of usage, plans and top-ups costs, exact to the last digit of the currency."""
