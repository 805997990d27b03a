"""The routes. `table` lists them, and `dispatch` decodes the query and the body. The handler of a
route calls the services and encodes the response. Knows no connection.
"""
