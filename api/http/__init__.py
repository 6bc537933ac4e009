"""HTTP layer of the API: middleware, limits and error responses, for all routes alike.

`middleware.AuthMiddleware` authenticates requests, `errors.install` gives every error its status
code and shape, and `rate_limit.RateLimit` limits requests per key.

May import `api.auth`, `api.dependencies`, `api.metrics`, `api.settings`, `api.schemas.common`,
`worker.jobs` and `flant5_train.protocol`. It imports no route and no service.
"""
