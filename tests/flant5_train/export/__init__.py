"""What a run leaves, in the hands of programs that know nothing of us."""
