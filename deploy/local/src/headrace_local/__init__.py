"""Headrace on one machine: `up` starts an embedded Redis and each service as a process, `demo`
shows them at work."""
