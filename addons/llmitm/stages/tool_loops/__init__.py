"""Does the model call the same tool with the same arguments over and over? Then it is stopped."""
