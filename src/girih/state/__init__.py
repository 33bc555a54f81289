"""What is remembered between steps, and what one step is about."""
