"""One folder for each surface of the API: what its answers and its frames look like."""
