"""Answers of models to callers: asked for in Redis, gathered or passed on as they come."""
