"""Clients that are made from the OpenAPI document, as users of the API would make them."""
