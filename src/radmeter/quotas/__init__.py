"""Plans, subscribers and their quotas."""
