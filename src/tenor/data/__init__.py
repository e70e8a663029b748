"""From the user's file to batches."""
