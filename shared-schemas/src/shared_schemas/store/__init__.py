"""The artifact store: `files` keeps files named by their SHA-256, `collecting` removes those nobody refers to."""
