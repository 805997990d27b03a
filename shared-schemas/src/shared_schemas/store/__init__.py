"""The artifact store. `files` keeps files that are named by their SHA-256, `collecting` removes
unused ones. No Redis."""
