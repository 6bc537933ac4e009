"""The process that brings back what was lost and clears away what is old."""
