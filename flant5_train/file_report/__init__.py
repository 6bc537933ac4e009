"""Report on a conversation file: its content, truncation, and problems with their location.

It is made before a run, record by record, in constant memory. `flant5_train.data.dataset` is the
report of a run on its own data.
"""
