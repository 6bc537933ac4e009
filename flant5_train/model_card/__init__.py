"""The README.md of a finished model, in the form of the Hugging Face Hub, and its curves."""
