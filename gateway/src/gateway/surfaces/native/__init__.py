"""Headrace's own API: JSON answers, and events as server-sent events or NDJSON."""
