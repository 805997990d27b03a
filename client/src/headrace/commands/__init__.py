"""The commands of the `headrace` command line: each turns options into one verb of the client."""
