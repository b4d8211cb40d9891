"""The pages: of the NOC, and of a tenant. They read through the API's reads, as the role of the key."""
