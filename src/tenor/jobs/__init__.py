"""What each command does, without parsing and printing."""
