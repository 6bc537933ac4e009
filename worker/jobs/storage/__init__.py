"""Files of the service under HOME: uploads, run directories, logs and tombstones.

`paths.Home` and `paths.RunDirectory` define the layout, `filesystem.write_whole` writes durably,
`files.FileStore` keeps the uploaded files, and `job_record.JobRecordStore` the records of jobs.

May import the models and errors of `worker.jobs`, and `flant5_train.protocol`. It never imports
`worker.jobs.store`.
"""
