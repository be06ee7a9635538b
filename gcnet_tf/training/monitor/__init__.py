"""What a person sees of a training, and the folder that keeps it."""
