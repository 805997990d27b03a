"""The recipes that come with the worker, a file for each. They are made of recipe_kit alone, as a user's own are."""
