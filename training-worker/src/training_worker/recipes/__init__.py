"""The built-in recipes, one file each. They use only `recipe_kit`, as a user's own recipe does."""
