"""Requests as jobs, the bounded and fair queue in which they wait, and the one thread that reads them; a recorder.

Knows nothing of HTTP: the routes hand jobs in and wait for their futures.
"""
