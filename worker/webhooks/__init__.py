"""The process that tells the operator's endpoints how jobs ended."""
