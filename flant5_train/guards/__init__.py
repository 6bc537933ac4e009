"""Guards that stop hopeless runs, with a reason for the user who submitted them."""
