"""Model card of a finished model: README.md in the Hugging Face Hub's format, and loss curves."""
