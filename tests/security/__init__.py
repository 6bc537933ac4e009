"""What is sent to do harm, and what becomes of it."""
