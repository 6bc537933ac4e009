"""The report on one conversation file: what it holds, what would be cut, what is wrong where.

Made before a run, row by row, in memory that does not grow with the file; `flant5_train.report` is
what a run says of its own data.
"""
