"""Formats that the trainer's programs share with the service: files and messages in JSON.

`progress` defines `progress.jsonl`, `failure.Failure` is `error.json`, and `inference` defines the
messages of the inference process.

May import only `flant5_train.config`, and never torch: the API and the worker import this package.
"""
