"""The serving process: takes chat requests from Redis and runs inference with trained models."""
