"""What a user reads to decide."""
