"""The real trainer, one process without torchrun. argv: run.json"""

from flant5_train.train import main

if __name__ == "__main__":
    main()
