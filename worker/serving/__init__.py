"""The serving process: takes questions out of Redis and has them answered by trained models."""
