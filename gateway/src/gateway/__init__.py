"""HTTP in, events out. Knows jobs and models by name; never loads one."""
