"""Alerts: rules say what is wrong, the jobs' leader looks each second, and people are told once: webhooks, e-mail.

`evaluating`, `silence` and `sites` are pure: a state, what was seen and a time go in, the next state comes out.
`ticking` does one look at everything, in one transaction with what is to be announced. So an alert and its announcement
exist together or not at all, wherever the process is killed.
"""
