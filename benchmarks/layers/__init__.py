"""What each layer of a model knows of the verdict."""
