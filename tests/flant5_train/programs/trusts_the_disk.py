"""`python -m flant5_train.train`, which takes any disk for a large one: as on a disk that others
fill meanwhile, it finds out while it writes."""

from unittest.mock import patch

from flant5_train.train import main

if __name__ == "__main__":
    with patch("flant5_train.training.callbacks.disk_space.free_bytes", return_value=1 << 60):
        main()
