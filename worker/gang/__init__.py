"""Multi-node attempts: waiting for other workers, leader and members."""
