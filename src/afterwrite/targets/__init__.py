"""Remote targets: one module a service, over boto3, which is imported when the first request is made."""
