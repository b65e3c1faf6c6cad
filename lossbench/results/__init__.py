"""Results: values, aggregates, gates, reading back and comparing."""
