"""The doors: each route hands its request on and its result back."""
