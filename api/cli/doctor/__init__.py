"""`flant5 doctor`: checks whether this host can run the service, and suggests fixes."""
