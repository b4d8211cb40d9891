"""What the API and the pages read, a subject a file. Row-level security decides which rows a tenant sees."""
