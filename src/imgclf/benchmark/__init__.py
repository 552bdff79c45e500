"""How fast the product is, beside the plain way and beside the limit, measured in turn on the same machine."""
