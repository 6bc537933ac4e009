"""OpenAPI document of the API, with an example of each response.

`document.install` adds the examples to the generated document, and `examples.examples` makes them.

May import `api.schemas`, `api.routes`, `api.services`, `worker.jobs`, and `flant5_train.protocol`
or `flant5_train.config`.
"""
