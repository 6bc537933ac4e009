"""Chat completions: sends requests through Redis, and returns answers whole or as a stream."""
