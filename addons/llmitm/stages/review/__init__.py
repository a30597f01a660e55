"""What waits for an operator."""
