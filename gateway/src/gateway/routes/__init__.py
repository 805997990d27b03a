"""The routes. Each one decodes, calls one verb and encodes."""
