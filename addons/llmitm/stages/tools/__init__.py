"""Which tools a model may call, and what its calls would do."""
