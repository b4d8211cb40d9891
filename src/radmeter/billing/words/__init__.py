"""The words of documents and statements, a module for each language. All have the same keys and places."""
