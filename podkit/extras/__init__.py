"""What one command alone needs; imported when that command runs."""
