"""Getting tokens: credentials as values, one flow for sync and async, a cache in front."""
