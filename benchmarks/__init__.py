"""How fast Headrace is, beside what a person would pick instead and beside the limit of Redis itself, in one run."""
