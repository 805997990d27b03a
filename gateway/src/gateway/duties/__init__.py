"""What the process does by itself, without a request."""
