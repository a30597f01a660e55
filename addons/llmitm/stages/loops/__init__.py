"""Does the model say the same thing over and over? Then its answer ends."""
