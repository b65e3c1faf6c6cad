"""Input formats: one module and one row of `registry.FORMATS` a format."""
