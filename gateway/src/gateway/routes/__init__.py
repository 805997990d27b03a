"""The routes. `table` lists them, `dispatch` decodes the query and the body, and a route calls one verb and encodes."""
