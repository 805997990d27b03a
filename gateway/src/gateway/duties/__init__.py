"""Work of the process that no request asks for. Knows no route."""
