"""What ends a run that can't come to a good end, with a reason for the person who sent it."""
