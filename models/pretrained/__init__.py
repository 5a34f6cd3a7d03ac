"""Published models, read and written in the formats of their makers."""
