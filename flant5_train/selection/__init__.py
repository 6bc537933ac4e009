"""What evaluations decide: which checkpoint is the best, and when to stop early."""
