"""DynamoDB's item semantics, pure: request bodies become plans, plans are applied to items."""
