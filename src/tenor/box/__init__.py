"""Models inside the package."""
