"""`flant5 doctor`: whether this host can run the service, and what to do where it can't."""
